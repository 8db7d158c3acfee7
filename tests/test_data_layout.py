"""Which class and which split the name of an image means."""

from gentool.data.decoding.layout import lay_out


def test_class_folders_become_labels():
    found = lay_out(["cat/1.png", "dog/deep/2.png", "cat/3.png"])
    assert found.classes == ("cat", "dog") and set(found.rows) == {"train"}
    names = ["cat", "dog", "cat"]
    assert [found.classes[k] for k in found.labels["train"]] == [
        names[i] for i in found.rows["train"]
    ]


def test_layout_variants():
    assert lay_out(["a.png", "b.png"]).classes == ()
    assert lay_out(["cat/a.png", "cat/b.png"]).classes == ()  # one class says nothing
    mixed = lay_out(["cat/a.png", "dog/c.png", "b.png"])
    assert mixed.classes == () and "beside" in mixed.notes[0]
    digits = lay_out([f"{k}/x.png" for k in (10, 9, 1)])
    assert digits.classes == ("1", "9", "10")
    splits = lay_out(["set/Train/a/1.png", "set/Train/b/2.png", "set/test/b/3.png"])
    assert splits.rows["test"].tolist() == [2] and splits.labels["test"].tolist() == [1]
    extra = lay_out(["train/a/1.png", "train/b/2.png", "test/a/3.png", "val/a/4.png"])
    assert sum(map(len, extra.rows.values())) == 3 and "val" in extra.notes[0]
    only = lay_out(["train/a/1.png", "train/b/2.png"])
    assert set(only.rows) == {"train"} and only.classes == ("a", "b")
    many = lay_out([f"{k:05d}/x.png" for k in range(10_001)])
    assert many.classes == () and "too many" in many.notes[0]
    assert lay_out(["\x1b[31m/a.png", "\udcff/a.png"]).classes == ("\\x1b[31m", "\\udcff")


def test_the_order_of_images_does_not_depend_on_the_others():
    names = [f"{k}.png" for k in range(50)]
    some = names[::2]
    few = [some[i] for i in lay_out(some).rows["train"]]
    whole = [names[i] for i in lay_out(names).rows["train"]]
    assert [name for name in whole if name in few] == few and whole != names
