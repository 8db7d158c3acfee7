"""Translates the PTX that nvcc emits to C++, so that device code runs where there is no GPU.

Every kernel becomes one C++ function over the addresses of its arguments. A register is an unsigned
integer as wide as it was declared, and each instruction reads and writes it as the type in its own
name, as PTX defines it (NVIDIA, "Parallel Thread Execution ISA"). Labels become labels, barriers
and shuffles those of `include/cuda_runtime.h`. An instruction that is not known is an error, never
a guess: `TranslationError` names it, and a line or two below teach it.

What the GPU's approximate instructions return is not specified bit by bit, only bounded. So
`ptx_error`, from -1 to 1, says where within its bound each result is to lie, in parts of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

INTEGERS = {
    f"{sign}{bits}": f"{'' if sign == 's' else 'u'}int{bits}_t"
    for sign in "usb"
    for bits in (8, 16, 32, 64)
}
TYPES = {**INTEGERS, "f32": "float", "f64": "double", "pred": "bool"}
WIDER = {"u16": "uint32_t", "s16": "int32_t", "u32": "uint64_t", "s32": "int64_t",
         "u64": "unsigned __int128", "s64": "__int128"}  # fmt: skip
SPECIAL = {
    "%tid.x": "threadIdx.x",
    "%ntid.x": "blockDim.x",
    "%ctaid.x": "blockIdx.x",
    "%nctaid.x": "gridDim.x",
}
COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
           "lo": "<", "ls": "<=", "hi": ">", "hs": ">="}  # fmt: skip
TO_INTEGER = {"rni": "std::nearbyint", "rzi": "std::trunc", "rmi": "std::floor", "rpi": "std::ceil"}
APPROXIMATE = ("ex2", "rcp", "sqrt", "sin", "cos")
EXPRESSIONS = {
    "mov": "{0}",
    "cvta": "{0}",
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "and": "{0} & {1}",
    "or": "{0} | {1}",
    "xor": "{0} ^ {1}",
    "not": "{0} ^ {type}(-1)",
    "div": "{0} / {1}",
    "rem": "{0} % {1}",
    "neg": "-{0}",
    "abs": "std::abs({0})",
    "fma": "std::fma({0}, {1}, {2})",
    "min": "least({0}, {1})",
    "max": "greatest({0}, {1})",
    "shl": "shifted_left({0}, {1})",
    "shr": "shifted_right({0}, {1})",
    "selp": "{2} ? {0} : {1}",
    **{name: f"approximate_{name}({{0}})" for name in APPROXIMATE},
}
OPERANDS = {"shl": ("", "u32"), "shr": ("", "u32"), "selp": ("", "", "pred")}
"""Types of operands where they are not the instruction's own."""
MODIFIERS = {"rn", "lo", "to", "global", "uni", "approx"}
"""What may stand between an instruction's name and its type without changing what it does here."""


class TranslationError(ValueError):
    """An instruction or operand that the translator has not been taught."""


@dataclass(frozen=True)
class Module:
    """A PTX file: the names of its kernels, and the C++ that stands for them."""

    kernels: tuple[str, ...]
    code: str


def translate(ptx: str, only: str = "") -> Module:
    """The kernels of a PTX file whose mangled names `only` matches, as C++.

    Raises TranslationError on anything unknown in them.
    """
    text = re.sub(r"//[^\n]*", "", ptx)
    shared, size = _shared_memory(text)
    entries = re.findall(r"\.entry\s+(\w+)\s*\((.*?)\)[^{]*\{(.*?)\n\}", text, re.S)
    chosen = [(name, body) for name, _, body in entries if re.search(only, name)]
    if not chosen:
        raise TranslationError(f"no kernel in this PTX matches {only!r}")
    parts = ['#include "ptx.h"', "namespace {"]
    parts.append(f"alignas(16) unsigned char shared_memory[{max(size, 1)}];")
    parts += [_Kernel(name, shared).translated(body) for name, body in chosen]
    parts.append("const emulation::Translations translations({")
    parts += [f'  {{"{name}", ptx_{name}}},' for name, _ in chosen]
    return Module(
        tuple(name for name, _ in chosen), "\n".join([*parts, "});", "}  // namespace\n"])
    )


def _shared_memory(text: str) -> tuple[dict[str, int], int]:
    """Where each variable of shared memory lies in a block's buffer, and how large that is."""
    found: dict[str, int] = {}
    end = 0
    pattern = r"^\s*(?:\.weak\s+)?\.shared\s+\.align\s+(\d+)\s+\.b8\s+(\w+)\[(\d+)\];"
    for align, name, size in re.findall(pattern, text, re.M):
        found[name] = -(-end // int(align)) * int(align)
        end = found[name] + int(size)
    return found, end


class _Kernel:
    """One entry of a PTX file."""

    def __init__(self, name: str, shared: dict[str, int]) -> None:
        self.name, self.shared = name, shared
        self.registers: set[str] = set()

    def translated(self, body: str) -> str:
        lines = [f"void ptx_{self.name}(void* const* parameters) {{"]
        declared = [
            (kind, f"{register}{i}")
            for kind, register, count in re.findall(r"\.reg \.(\w+)\s+%(\w+)<(\d+)>;", body)
            for i in range(int(count))
        ]
        # Braces alone on a line are scopes, of registers that every scope declares alike.
        declared += sorted(set(re.findall(r"\.reg \.(\w+)\s+%(\w+);", body)))
        lines += [f"  {self._storage(kind)} r_{register};" for kind, register in declared]
        self.registers = {f"%{register}" for _, register in declared}
        body = re.sub(r"^\s*[{}]\s*$", "", body, flags=re.M)
        for label, statement in re.findall(r"\$(\w+):|([^;:]+);", body):
            words = statement.split()
            if label:
                lines.append(f"{label}:;")
            elif not words[0].startswith("."):  # a directive
                count = "" if words[0].startswith("mov") else "++ptx_executed; "
                lines.append(f"  {count}{self._statement(' '.join(words))}")
        return "\n".join([*lines, "  return;", "}"])

    @staticmethod
    def _storage(kind: str) -> str:
        return "bool" if kind == "pred" else f"uint{kind[1:]}_t"

    def _statement(self, text: str) -> str:
        match = re.fullmatch(r"(?:@(!?)(%\w+) )?([a-z][\w.]*) ?(.*)", text)
        if match is None:
            raise TranslationError(f"{self.name}: {text}")
        negated, guard, operation, rest = match.groups()
        try:
            code = self._instruction(operation, _split(rest))
        except (AssertionError, KeyError, IndexError, ValueError) as e:
            raise TranslationError(f"{self.name}: {text}") from e
        return f"if ({negated}{self._register(guard)}) {{ {code} }}" if guard else code

    def _instruction(self, operation: str, a: list[str]) -> str:
        head, *modifiers = operation.split(".")
        if head == "bra":
            return f"goto {a[0].removeprefix('$')};"
        if head == "ret":
            return "return;"
        if head == "bar":
            return "__syncthreads();"
        kind = modifiers[-1]
        if head in ("ld", "st"):
            return self._memory(head, modifiers, a)
        if head == "mov" and (a[0].startswith("{") or a[1].startswith("{")):
            return self._pack(a, int(kind[1:]))
        if head == "cvt":
            return self._convert(modifiers, a)
        if head == "shfl":
            assert modifiers[:2] == ["sync", "bfly"]
            given = (self._value(x, "b32") for x in (a[4], a[1], a[2]))
            target = self._register(a[0].split("|")[0])
            return f"put({target}, __shfl_xor_sync({', '.join(given)}));"
        if head == "setp":
            value = self._compare(modifiers, kind, a[1:])
        elif head in ("mul", "mad"):
            value = self._product(modifiers, kind, a[1:])
        else:
            value = self._expression(head, modifiers[:-1], kind, a[1:])
        return f"put({self._register(a[0])}, {value});"

    # ---- operands ----

    def _register(self, text: str) -> str:
        if text not in self.registers:
            raise TranslationError(text)
        return f"r_{text[1:]}"

    def _value(self, text: str, kind: str) -> str:
        """An operand read as a type."""
        c = TYPES[kind]
        if text in SPECIAL:
            return f"{c}({SPECIAL[text]})"
        if text in self.shared:
            return f"{c}({self.shared[text]})"
        if text.startswith(self.name):  # the place of an argument
            return f"{c}(reinterpret_cast<uint64_t>(parameters[{text.rpartition('_')[2]}]))"
        if text.startswith(("0f", "0d")):
            return f"as<{c}>(0x{text[2:]}{'u' if text[1] == 'f' else 'ull'})"
        if re.fullmatch(r"-?\d+", text):
            return f"{c}({text}{'ull' if int(text) > 2**63 - 1 else 'll'})"
        return f"as<{c}>({self._register(text)})"

    def _address(self, text: str, space: str) -> str:
        match = re.fullmatch(r"\[(.+?)(?:\+(-?\d+))?\]", text)
        assert match is not None
        base, offset = match[1], match[2] or "0"
        if space == "shared":
            begin = "reinterpret_cast<uint64_t>(shared_memory)"
            return f"{begin} + {self._value(base, 'u32')} + ({offset})"
        assert space in ("global", "param")
        return f"{self._value(base, 'u64')} + ({offset})"

    # ---- kinds of instructions ----

    def _expression(self, head: str, how: list[str], kind: str, a: list[str]) -> str:
        kinds = OPERANDS.get(head, ())
        values = [
            self._value(x, (kinds[i] if i < len(kinds) else "") or kind) for i, x in enumerate(a)
        ]
        text = EXPRESSIONS[head].format(*values, type=TYPES[kind])
        unknown = set(how) - MODIFIERS
        if head in APPROXIMATE and "ftz" in unknown:
            text, unknown = f"flushed({text})", unknown - {"ftz"}
        if head in ("min", "max") and "NaN" in unknown:
            text, unknown = f"nan_{text}", unknown - {"NaN"}
        if unknown:
            raise TranslationError(".".join([head, *how, kind]))
        return f"{TYPES[kind]}({text})"

    def _product(self, how: list[str], kind: str, a: list[str]) -> str:
        """mul and mad: of integers the low half, the high half or all of the product."""
        x, y = (self._value(v, kind) for v in a[:2])
        if kind[0] == "f":
            assert not set(how) - {"rn", kind}
            return f"{x} * {y}"
        wide = WIDER[kind]
        result, addend = (
            (wide, kind[0] + str(2 * int(kind[1:]))) if how[0] == "wide" else (TYPES[kind], kind)
        )
        shift = f" >> {kind[1:]}" if how[0] == "hi" else ""
        more = f" + {self._value(a[2], addend)}" if len(a) == 3 else ""
        return f"{result}(({wide}({x}) * {wide}({y})){shift}{more})"

    def _compare(self, how: list[str], kind: str, a: list[str]) -> str:
        assert len(how) == 2
        x, y = (self._value(v, kind) for v in a)
        if how[0] == "nan":
            return f"unordered({x}, {y})"
        or_nan = kind[0] == "f" and len(how[0]) == 3
        plain = f"{x} {COMPARE[how[0][:2] if or_nan else how[0]]} {y}"
        return f"({plain} || unordered({x}, {y}))" if or_nan else f"({plain})"

    def _memory(self, head: str, modifiers: list[str], a: list[str]) -> str:
        space, kind = modifiers[0], modifiers[-1]
        count = next((int(m[1:]) for m in modifiers if re.fullmatch(r"v\d", m)), 1)
        if set(modifiers) - {space, kind, f"v{count}", "nc"}:
            raise TranslationError(".".join(modifiers))
        place, registers = (a[1], a[0]) if head == "ld" else (a[0], a[1])
        names = _split(registers.strip("{}"))
        assert len(names) == count
        code = f"auto* p = at<{TYPES[kind]}, {count}>({self._address(place, space)}); "
        for i, name in enumerate(names):
            if head == "ld":
                code += f"put({self._register(name)}, p[{i}]); "
            else:
                code += f"p[{i}] = {self._value(name, kind)}; "
        return f"{{ {code}}}"

    def _pack(self, a: list[str], bits: int) -> str:
        """mov between a register and the halves of it."""
        half = f"b{bits // 2}"
        if a[0].startswith("{"):
            low, high = _split(a[0].strip("{}"))
            whole = self._value(a[1], f"b{bits}")
            return (
                f"{{ const auto w = {whole}; put({self._register(low)}, {TYPES[half]}(w)); "
                f"put({self._register(high)}, {TYPES[half]}(w >> {bits // 2})); }}"
            )
        low, high = (
            f"{TYPES[f'b{bits}']}({self._value(x, half)})" for x in _split(a[1].strip("{}"))
        )
        return f"put({self._register(a[0])}, {TYPES[f'b{bits}']}({low} | {high} << {bits // 2}));"

    def _convert(self, modifiers: list[str], a: list[str]) -> str:
        *how, target, source = modifiers
        if target in ("f16", "bf16"):
            assert how in (["rn"], ["rz"])
            value = f"to_{target}_{how[0]}({self._value(a[1], source)})"
            return f"put({self._register(a[0])}, {value});"
        if source in ("f16", "bf16"):
            return f"put({self._register(a[0])}, from_{source}({self._value(a[1], 'b16')}));"
        value = self._value(a[1], source)
        rounding = next((TO_INTEGER[m] for m in how if m in TO_INTEGER), None)
        if source[0] == "f" and rounding is not None:
            value = f"{rounding}({value})"
        elif set(how) - {"rn"}:
            raise TranslationError(".".join(modifiers))
        return f"put({self._register(a[0])}, {TYPES[target]}({value}));"


def _split(text: str) -> list[str]:
    """Operands, at the commas outside braces."""
    return [x.strip() for x in re.findall(r"(?:\{[^}]*\}|[^,{])+", text)]
