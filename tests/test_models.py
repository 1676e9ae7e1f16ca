"""Models by name: the embedded encoder and its tokeniser, packed weights, what is refused."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer
from transformers.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

from polyspan.errors import PolyspanError
from polyspan.files import write_manifest
from polyspan.models import load_model
from polyspan.models.cache import cache_folder
from polyspan.models.errors import ModelError
from polyspan.models.load import DEFAULT, EMBEDDED, SHIPPED, resolve_model, save_model
from polyspan.models.packed import PackedModelError, fingerprint, pack, unpack
from tiny_models import tiny_bert, tiny_unigram

PAIRS = {
    "en": ("Who paid for the stones?", "Anna Keller paid 17 florins for the stones."),
    "de": ("Wer bezahlte die Steine?", "Anna Keller zahlte 17 Gulden für die Steine."),
    "ar": ("من دفع ثمن الحجارة؟", "دفعت آنا كيلر 17 فلورينًا ثمنًا للحجارة."),
    "hi": ("पत्थरों के पैसे किसने दिए?", "अन्ना केलर ने पत्थरों के लिए 17 फ्लोरिन दिए।"),
    "zh": ("谁支付了石料？", "安娜·凯勒为石料支付了17弗罗林。"),
    "th": ("ใครจ่ายค่าหิน", "แอนนา เคลเลอร์ จ่ายเงิน 17 ฟลอรินสำหรับหิน"),
    "ru": ("Кто заплатил за камни?", "Анна Келлер заплатила за камни 17 флоринов."),
    "el": ("Ποιος πλήρωσε τις πέτρες;", "Η Άννα Κέλερ πλήρωσε 17 φιορίνια για τις πέτρες."),
    "ko": ("누가 돌값을 냈습니까?", "안나 켈러가 돌값으로 17플로린을 냈다."),
    "te": ("రాళ్లకు ఎవరు చెల్లించారు?", "అన్నా కెల్లర్ రాళ్ల కోసం 17 ఫ్లోరిన్లు చెల్లించింది."),
    "bn": ("পাথরের দাম কে দিয়েছিল?", "আন্না কেলার পাথরের জন্য ১৭ ফ্লোরিন দিয়েছিলেন।"),
    "emoji": ("😀?", "The 👩‍👩‍👧 family ﬁnally paid ½ of e\u0301clairs ㎞ 😀."),
}


@pytest.fixture(scope="module")
def embedded_tokenizer() -> object:
    return AutoTokenizer.from_pretrained(resolve_model(EMBEDDED))


@pytest.mark.parametrize("language", PAIRS)
def test_embedded_tokeniser_keeps_every_character_in_place(embedded_tokenizer: object, language: str) -> None:
    question, context = PAIRS[language]
    encoded = embedded_tokenizer(question, context, return_offsets_mapping=True)  # type: ignore[operator]
    ids, owners = encoded["input_ids"], encoded.sequence_ids(0)
    assert ids[0] == 0
    separators = [at for at, piece in enumerate(ids) if piece == 2]
    assert len(separators) == 3
    assert separators[1] == separators[0] + 1
    offsets = [o for o, owner in zip(encoded["offset_mapping"], owners, strict=True) if owner == 1]
    covered = {at for start, end in offsets for at in range(start, end)}
    assert {at for at, c in enumerate(context) if not c.isspace()} <= covered
    assert [start for start, _ in offsets] == sorted(start for start, _ in offsets)
    assert 3 not in ids or language == "emoji"


def test_embedded_tokeniser_gives_the_published_ids(embedded_tokenizer: object) -> None:
    """Ids of XLM-R's vocabulary, as its model card and papers show them."""
    assert embedded_tokenizer("Hello world!")["input_ids"] == [0, 35378, 8999, 38, 2]  # type: ignore[operator]


def test_embedded_encoder_brings_translations_together() -> None:
    import torch.nn.functional as f
    from transformers import AutoModel

    folder = resolve_model(EMBEDDED)
    model, tokenizer = (
        AutoModel.from_pretrained(folder, add_pooling_layer=False).eval(),
        AutoTokenizer.from_pretrained(folder),
    )
    texts = ["query: " + PAIRS[language][1] for language in ("en", "de", "zh")] + [
        "query: Yesterday it rained in the hills."
    ]
    encoded = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**encoded).last_hidden_state
    mask = encoded["attention_mask"][..., None]
    vectors = f.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)
    alike = vectors @ vectors.T
    assert min(alike[0, 1], alike[0, 2]) > alike[0, 3] + 0.05


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_models_answer_across_languages(name: str) -> None:
    from polyspan.answering import Answerer

    reader = Answerer(name)
    context = (
        "Der alte Leuchtturm steht seit 1843 auf der Insel. Die Wärterin Ines Okoro zündete die Lampe"
        " jeden Abend mit Rapsöl an, bis 1921 der Strom kam."
    )
    (best, *_) = reader.answer("Who lit the lamp every evening?", context, top_k=3).spans
    assert "Ines Okoro" in best.text
    assert context[best.start : best.end] == best.text
    size = (Path(__file__).parents[1] / f"src/polyspan/models/shipped/{name}.safetensors").stat().st_size
    assert size <= 25 * 2**20
    assert DEFAULT in SHIPPED


def test_a_broken_cache_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYSPAN_CACHE", str(tmp_path))
    folder = Path(resolve_model(EMBEDDED))
    assert tmp_path in folder.parents
    (folder / "config.json").write_text("{", encoding="utf-8")
    assert json.loads((Path(resolve_model(EMBEDDED)) / "config.json").read_text(encoding="utf-8"))["hidden_size"] == 384


def test_a_new_calibration_is_no_new_copy_of_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYSPAN_CACHE", str(tmp_path / "cache"))
    shipped = tmp_path / "installed/shipped"
    shipped.mkdir(parents=True)
    base = {"a": torch.ones(1)}
    pack(base, base, shipped / f"{DEFAULT}.safetensors", {})
    calibration = shipped / f"{DEFAULT}.calibration.json"
    monkeypatch.setattr("polyspan.models.load.resources.files", lambda package: shipped.parent)
    monkeypatch.setattr("polyspan.models.load._base_state", lambda: base)
    monkeypatch.setattr("polyspan.models.load._write_folder", written_folder)
    folder = Path(resolve_model(DEFAULT))
    assert not (folder / "calibration.json").exists()
    weights = (folder / "weights").stat().st_mtime_ns
    left, going_on, others = (
        tmp_path / "cache" / name
        for name in (f".{folder.name}.a.aside", f".{folder.name}.b.aside", f".{folder.name}.mine")
    )
    for place in (left, going_on, others):
        place.mkdir()
    os.utime(left, (0, 0))
    os.utime(others, (0, 0))
    for text in ("{}", "[1]"):
        calibration.write_text(text, encoding="utf-8")
        assert Path(resolve_model(DEFAULT)) == folder
        assert (folder / "calibration.json").read_text(encoding="utf-8") == text
        assert (folder / "weights").stat().st_mtime_ns == weights
    there = {path.name for path in (tmp_path / "cache").iterdir()}
    assert there == {folder.name, f"{folder.name}.lock", going_on.name, others.name}
    calibration.unlink()
    assert not (Path(resolve_model(DEFAULT)) / "calibration.json").exists()


def written_folder(folder: Path, state: object) -> None:
    folder.mkdir(parents=True)
    (folder / "weights").write_text("abc", encoding="utf-8")
    write_manifest(folder)


def test_loading_leaves_progress_bars_as_they_were(tmp_path: Path) -> None:
    model = str(tiny_bert(tmp_path / "tiny"))
    before = is_progress_bar_enabled()
    try:
        for switch, there in ((enable_progress_bar, True), (disable_progress_bar, False)):
            switch()
            load_model(model)
            assert is_progress_bar_enabled() == there
    finally:
        (enable_progress_bar if before else disable_progress_bar)()


def states() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    base = {
        "a": torch.randn(7, 5, generator=generator),
        "b": torch.randn(5, generator=generator),
        "same": torch.ones(2, 2),
    }
    changed = {name: value + 0.1 * torch.randn(value.shape, generator=generator) for name, value in base.items()}
    return base, {**changed, "same": base["same"].clone(), "head": torch.randn(2, 5, generator=generator)}


def test_packing_rounds_a_change_to_a_254th_of_its_rows_largest(tmp_path: Path) -> None:
    base, changed = states()
    pack(changed, base, tmp_path / "p", {"name": "x"})
    back = unpack(tmp_path / "p", base)
    for exact in ("b", "same", "head"):
        assert torch.equal(back[exact], changed[exact])
    step = (changed["a"] - base["a"]).abs().amax(1, keepdim=True) / 127
    assert ((back["a"] - changed["a"]).abs() <= step / 2 + 1e-6).all()
    assert not torch.equal(back["a"], changed["a"])


def test_packed_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    base, changed = states()
    with pytest.raises(ModelError, match=r"a: of shape \(2, 2\), not \("):
        pack({"a": torch.ones(2, 2)}, base, tmp_path / "p", {})
    pack(changed, base, tmp_path / "p", {})
    other = {**base, "a": base["a"] + 1}
    with pytest.raises(PackedModelError, match="another encoder"):
        unpack(tmp_path / "p", other)
    whole = (tmp_path / "p").read_bytes()
    (tmp_path / "p").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PackedModelError, match="not a readable packed model"):
        unpack(tmp_path / "p", base)
    save_file({"x": torch.ones(1)}, tmp_path / "foreign")
    with pytest.raises(PackedModelError, match="not a packed model"):
        unpack(tmp_path / "foreign", base)
    assert fingerprint(base) == fingerprint({name: base[name].clone() for name in reversed(base)})


@pytest.mark.parametrize("build", [tiny_bert, tiny_unigram])
def test_saving_and_loading_is_exact(build: Callable[[Path], Path], tmp_path: Path) -> None:
    loaded = load_model(str(build(tmp_path / "a")))
    save_model(loaded.model, loaded.tokenizer, tmp_path / "b")
    again = load_model(str(tmp_path / "b"))
    for name, value in loaded.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name])
    assert not again.fresh_head
    assert again.tokenizer("the stones")["input_ids"] == loaded.tokenizer("the stones")["input_ids"]


def test_what_is_no_model_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path / "tiny")
    empty = tmp_path / "empty"
    empty.mkdir()
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "model.safetensors").write_bytes(b"\x00" * 100)
    pickled = tmp_path / "pickled"
    shutil.copytree(folder, pickled)
    (pickled / "model.safetensors").unlink()
    (pickled / "pytorch_model.bin").write_bytes(pickle.dumps({"weights": 1}))
    no_weights = tmp_path / "none"
    shutil.copytree(pickled, no_weights)
    (no_weights / "pytorch_model.bin").unlink()
    not_json = tmp_path / "notjson"
    shutil.copytree(folder, not_json)
    (not_json / "config.json").write_text("{", encoding="utf-8")
    run = tmp_path / "run"
    shutil.copytree(folder, run / "model")
    for place, said in [
        (empty, "no config.json"),
        (run, f"is the folder of a run; its model is {re.escape(str(run / 'model'))}"),
        (broken, "cannot be loaded"),
        (pickled, "pickle"),
        (no_weights, "no weights"),
        (not_json, "cannot be loaded"),
        (tmp_path / "nowhere", "no such folder"),
        ("polyspan-smal", "polyspan-small"),
    ]:
        with pytest.raises(PolyspanError, match=said) as caught:
            load_model(str(place))
        assert str(place) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert issubclass(ModelError, PolyspanError)


@pytest.mark.parametrize("labels", [1, 3])
def test_a_classifier_is_a_start_like_any_encoder(labels: int, tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path / "tiny")
    config = json.loads((folder / "config.json").read_text())
    names = {str(number): f"LABEL_{number}" for number in range(labels)}
    config |= {"id2label": names, "label2id": {name: int(number) for number, name in names.items()}}
    (folder / "config.json").write_text(json.dumps(config))
    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: value for name, value in weights.items() if "qa_outputs" not in name},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    loaded = load_model(str(folder))
    assert loaded.fresh_head
    assert loaded.model.qa_outputs.out_features == 2
    assert loaded.model(torch.tensor([[2, 5, 3]])).start_logits.shape == (1, 3)


def test_the_cache_is_where_the_specification_has_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("POLYSPAN_CACHE", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    for named, expected in (("", ".cache"), ("relative", ".cache"), (str(tmp_path / "c"), "c")):
        monkeypatch.setenv("XDG_CACHE_HOME", named)
        assert cache_folder() == tmp_path / expected / "polyspan"


def test_of_two_processes_one_unpacks_and_the_other_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYSPAN_CACHE", str(tmp_path))
    written = []

    def slowly(folder: Path, state: object) -> None:
        written.append(folder)
        time.sleep(0.3)
        written_folder(folder, state)

    monkeypatch.setattr("polyspan.models.load._write_folder", slowly)
    monkeypatch.setattr("polyspan.models.load._base_state", dict)
    with ThreadPoolExecutor(2) as pool:
        folders = list(pool.map(resolve_model, [EMBEDDED, EMBEDDED]))
    assert folders[0] == folders[1]
    assert len(written) == 1


def test_where_nothing_can_be_written_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("POLYSPAN_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ModelError, match=r"file/cache: cannot be written .Not a directory"):
        resolve_model(EMBEDDED)
    loaded = load_model(tiny_bert(tmp_path / "tiny"))

    def full(*_: object, **__: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(loaded.model, "save_pretrained", full)
    with pytest.raises(ModelError, match=r"saved: cannot be written .*No space left"):
        save_model(loaded.model, loaded.tokenizer, tmp_path / "saved")
    assert not list(tmp_path.glob("*saved*"))


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("POLYSPAN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "expanduser", homeless)
    with pytest.raises(ModelError, match="set POLYSPAN_CACHE"):
        cache_folder()
    with pytest.raises(ModelError, match="~nobody-by-this-name/model: no such folder"):
        resolve_model("~nobody-by-this-name/model")
