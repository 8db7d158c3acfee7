"""Label files beside images: every format, what joins them with the images, what is refused."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gentool.data import DataOptions, Dataset, load
from gentool.data.tables.labelling import label
from gentool.data.tables.readers import read_celeba, read_csv, read_dataset_json, read_jsonl
from gentool.errors import UserError

N = 40
READERS = [read_csv, read_jsonl, read_dataset_json, read_celeba]
FILES = [f"{k:06d}.png" for k in range(1, N + 1)]
SMILE = np.arange(N) % 2
MALE = np.arange(N) % 3 == 0
AGE = 20 + 1.5 * np.arange(N)
TEST = np.arange(N) >= 30


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENTOOL_CACHE", str(tmp_path / "cache"))


def png(k: int) -> bytes:
    """An image that tells its number by its grey."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (k, 255 - k, 3)).save(file, "PNG")
    return file.getvalue()


def folder(path: Path, files: list[str] = FILES) -> Path:
    for k, name in enumerate(files):
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(png(k))
    return path


def numbers(data: Dataset, split: str) -> np.ndarray:
    return getattr(data, split).x[:, 0, 0, 0].astype(int)  # type: ignore[no-any-return]


def csv_text(names: list[str] = FILES, split: bool = True) -> str:
    rows = ["file_name,smile,male,age" + (",split" if split else "")]
    for k, name in enumerate(names):
        where = f",{'test' if TEST[k] else 'train'}" if split else ""
        rows.append(f"{name},{SMILE[k]},{MALE[k]},{AGE[k]}{where}")
    return "\n".join(rows) + "\n"


def jsonl_text() -> str:
    rows = [
        {
            "file_name": name,
            "smile": int(SMILE[k]),
            "male": bool(MALE[k]),
            "age": float(AGE[k]),
            "split": "test" if TEST[k] else "train",
        }
        for k, name in enumerate(FILES)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


def check(data: Dataset, names: tuple[str, ...] = ("smile", "male", "age")) -> None:
    """Every image has its own attributes; age comes back in years."""
    assert tuple(one.name for one in data.spec.attributes) == names
    assert [one.kind for one in data.spec.attributes] == ["binary", "binary", "continuous"]
    age = data.spec.attributes[2]
    for split in ("train", "test"):
        k, values = numbers(data, split), getattr(data, split).attributes
        assert np.array_equal(values[:, 0], SMILE[k])
        assert np.array_equal(values[:, 1], MALE[k])
        np.testing.assert_allclose(values[:, 2] * age.scale + age.mean, AGE[k], rtol=1e-5)
    if data.report.broken_count == 0:
        shown = numbers(data, "train")
        assert age.mean == pytest.approx(AGE[shown].mean())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.csv", csv_text()),
        ("metadata.csv", csv_text().replace(",", ";")),
        ("labels.tsv", csv_text().replace(",", "\t")),
        ("metadata.jsonl", jsonl_text()),
    ],
)
def test_tables_in_a_folder_and_in_a_zip_say_the_same(tmp_path: Path, name: str, text: str) -> None:
    place = folder(tmp_path / "set")
    (place / name).write_text(text)
    data = load(DataOptions(data=str(place)))
    check(data)
    assert len(data.train) == 30 and sorted(numbers(data, "test")) == list(range(30, 40))
    assert data.report.ignored == 0 and not data.report.notes
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in place.iterdir():
            archive.write(path, f"set/{path.name}")
    zipped = load(DataOptions(data=str(tmp_path / "set.zip")))
    check(zipped)
    again = load(DataOptions(data=str(tmp_path / "set.zip")))
    assert again.fingerprint == zipped.fingerprint


def test_celebas_lists_beside_the_folder(tmp_path: Path) -> None:
    """As CelebA is unpacked: .jpg in the lists, −1 and 1, the lists above the images or in Anno."""
    place = folder(tmp_path / "celeba" / "img_align_celeba")
    lines = [str(N), "Smiling Male "]
    lines += [
        f"{name[:-4]}.jpg  {2 * s - 1:2d} {2 * m - 1:2d}"
        for name, s, m in zip(FILES, SMILE, MALE, strict=True)
    ]
    (tmp_path / "celeba" / "Anno").mkdir()
    (tmp_path / "celeba" / "Anno" / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    split = [
        f"{name[:-4]}.jpg {1 if 25 <= k < 30 else 2 * TEST[k]}" for k, name in enumerate(FILES)
    ]
    (tmp_path / "celeba" / "list_eval_partition.txt").write_text("\n".join(split) + "\n")
    data = load(DataOptions(data=str(place)))
    assert [one.name for one in data.spec.attributes] == ["Smiling", "Male"]
    assert sorted(numbers(data, "train")) == list(range(25))
    assert sorted(numbers(data, "test")) == list(range(30, 40))
    assert data.train.attributes is not None
    assert np.array_equal(data.train.attributes[:, 1], MALE[numbers(data, "train")])
    assert "5 images belong to neither train nor test" in data.report.notes[0]


def test_dataset_json_holds_classes_or_vectors(tmp_path: Path) -> None:
    names = [f"{k // 20:05d}/img{k:08d}.png" for k in range(N)]
    place = folder(tmp_path / "classes", names)
    pairs = [[name, k % 3] for k, name in enumerate(names)]
    (place / "dataset.json").write_text(json.dumps({"labels": pairs}))
    data = load(DataOptions(data=str(place)))
    assert data.spec.classes == ("0", "1", "2")
    assert data.train.labels is not None
    assert np.array_equal(data.train.labels, numbers(data, "train") % 3)
    pairs = [[name, [float(SMILE[k]), float(AGE[k])]] for k, name in enumerate(names)]
    (place / "dataset.json").write_text(json.dumps({"labels": pairs}))
    vectors = load(DataOptions(data=str(place)))
    assert [one.name for one in vectors.spec.attributes] == ["label0", "label1"]
    (place / "dataset.json").write_text('{"labels": null}')
    assert load(DataOptions(data=str(place))).spec.classes == ("00000", "00001")


def test_a_table_per_split_folder_as_hugging_face_has_it(tmp_path: Path) -> None:
    names = [f"{'test' if TEST[k] else 'train'}/{name}" for k, name in enumerate(FILES)]
    place = folder(tmp_path / "set", names)
    lines = jsonl_text().splitlines(keepends=True)
    (place / "train" / "metadata.jsonl").write_text("".join(lines[:30]))
    (place / "test" / "metadata.jsonl").write_text("".join(lines[30:]))
    check(load(DataOptions(data=str(place))))


def test_words_are_classes_tags_are_attributes_and_captions_are_left_out(tmp_path: Path) -> None:
    place = folder(tmp_path / "set")
    rows = ["image,species,tags,text"]
    rows += [
        f"{name},{'cat' if k % 2 else 'dog'},{'a|b' if k % 4 == 0 else 'b'},caption {k}"
        for k, name in enumerate(FILES)
    ]
    (place / "labels.csv").write_text("\n".join(rows))
    data = load(DataOptions(data=str(place)))
    assert [one.name for one in data.spec.attributes] == ["a", "b"]
    assert any("'text' holds text" in note for note in data.report.notes)
    assert any("'species' holds text" in note for note in data.report.notes)
    (place / "labels.csv").write_text("\n".join(row.rsplit(",", 2)[0] for row in rows))
    data = load(DataOptions(data=str(place)))
    assert data.spec.classes == ("cat", "dog")
    assert data.train.labels is not None
    assert np.array_equal(data.train.labels, (numbers(data, "train") + 1) % 2)


def test_missing_rows_are_named_and_the_policy_decides(tmp_path: Path) -> None:
    place = folder(tmp_path / "set")
    lines = csv_text(split=False).splitlines()
    lines[3] = "000003.png,1,True"  # too short
    lines[4] = "000004.png,1,True,"  # no age
    lines[5] = lines[6].replace("000006", "000007")  # 000005 has none, 000007 has two
    lines.append("nobody.png,1,True,3")
    (place / "labels.csv").write_text("\n".join(lines))
    with pytest.raises(UserError, match=r"000003.png has no row.*4 of 40.*--on-bad-file skip"):
        load(DataOptions(data=str(place)))
    data = load(DataOptions(data=str(place), on_bad_file="skip"))
    reasons = {bad.name: bad.reason for bad in data.report.broken}
    assert reasons == {
        "000003.png": "has no row in labels.csv",
        "000004.png": "has no 'age' in labels.csv",
        "000005.png": "has no row in labels.csv",
        "000007.png": "has two rows in labels.csv that differ",
    }
    assert any(
        "1 rows of labels.csv name images that are not there" in n for n in data.report.notes
    )
    assert any("line 4 has 3 fields, not 4" in note for note in data.report.notes)
    assert len(data.train) + len(data.test) == 36
    check(data)


def test_labels_names_a_file_elsewhere_or_none(tmp_path: Path) -> None:
    place = folder(tmp_path / "set")
    plain = load(DataOptions(data=str(place)))
    (tmp_path / "mine.csv").write_text(csv_text())
    check(load(DataOptions(data=str(place), labels=str(tmp_path / "mine.csv"))))
    (tmp_path / "mine.csv").write_text(csv_text().replace("age", "years"))
    renamed = load(DataOptions(data=str(place), labels=str(tmp_path / "mine.csv")))
    assert renamed.spec.attributes[2].name == "years"  # a changed file is noticed
    (place / "labels.csv").write_text("what,ever\nno,1\n")
    with pytest.raises(UserError, match=r"names none of the images.*--labels none"):
        load(DataOptions(data=str(place)))
    assert load(DataOptions(data=str(place), labels="none")).fingerprint == plain.fingerprint
    with pytest.raises(UserError, match="is no file"):
        load(DataOptions(data=str(place), labels="absent.csv"))


def test_test_data_has_its_attributes_in_trainings_scale(tmp_path: Path) -> None:
    """Another source for the test split has a mean of its own, which must not be used."""
    a, b = folder(tmp_path / "a", FILES[:20]), folder(tmp_path / "b")
    (a / "labels.csv").write_text("\n".join(csv_text(split=False).splitlines()[:21]))
    (b / "labels.csv").write_text(csv_text(split=False))
    data = load(DataOptions(data=str(a), test_data=str(b)))
    check(data)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("labels.csv", "just one column\nx\n", "at least two columns"),
        ("labels.csv", "file,a,a\nx,1,2\n", "there twice"),
        ("labels.csv", 'file,a\n"' + "x" * 200_000 + '",1\n', "no CSV file"),
        ("metadata.jsonl", "[1]\n", "no line that is a JSON object"),
        ("metadata.jsonl", "{" * 3000 + "\n", "no line that is a JSON object"),
        ("dataset.json", "{}", 'no "labels"'),
        ("list_attr_celeba.txt", "3\na b\n", "none of CelebA's lists"),
    ],
)
def test_what_is_no_label_file_is_refused(tmp_path: Path, name: str, text: str, said: str) -> None:
    place = folder(tmp_path / "set", FILES[:3])
    (place / name).write_text(text)
    with pytest.raises(UserError, match=said) as caught:
        load(DataOptions(data=str(place)))
    assert "\n" not in str(caught.value)


def test_a_table_of_too_many_cells_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it fills the memory: one byte of a file can be a cell of eight."""
    monkeypatch.setattr("gentool.data.tables.table.MAX_MEMORY", 10 * 2**20)
    header = "file," + ",".join(f"c{k}" for k in range(999))
    data = (header + "\n" + ("x" + "," * 999 + "\n") * 1400).encode()
    with pytest.raises(UserError, match="more than gentool can hold"):
        read_csv(data, "labels.csv")
    row = {"file": "x", **{f"c{k}": 1 for k in range(900)}}
    with pytest.raises(UserError, match="more than gentool can hold"):
        read_jsonl((json.dumps(row) + '\n{"file": "y"}\n' * 1500).encode(), "metadata.jsonl")


def test_dataset_json_is_read_in_pieces() -> None:
    """More than the window of two million characters, with names of several bytes."""
    pairs = [[f"ordner/größe-{k:07d}.png", k % 7] for k in range(100_000)]
    data = json.dumps({"x": 1, "labels": pairs}, ensure_ascii=False).encode()
    assert len(data) > 3_000_000
    table = read_dataset_json(data, "dataset.json")
    assert table.names == [name for name, _ in pairs]
    assert table.columns["label"] == [float(k) for _, k in pairs] and not table.problems
    cut = read_dataset_json(data[:-20], "dataset.json")
    assert len(cut.names) == len(pairs) - 1 and cut.problems


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=300), st.sampled_from([read_csv, read_jsonl, read_dataset_json, read_celeba])
)
def test_any_bytes_are_a_table_or_a_sentence(data: bytes, reader) -> None:  # type: ignore[no-untyped-def]
    start = {read_csv: b"file,a\n", read_dataset_json: b'{"labels": [["x", 1], '}.get(reader, b"")
    for content in (data, start + data):
        try:
            table = reader(content, "it")
            label(["x", "y/z.png"], [table]) if table.names else None
        except UserError:
            continue
        assert all(len(column) == len(table.names) for column in table.columns.values())
