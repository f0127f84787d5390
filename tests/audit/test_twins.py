"""The same picture under two ids: refused while training, and failed by the audit."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from omegaconf import DictConfig

from mer.audit.artefacts import Artefacts
from mer.audit.check_twins import check_twins
from mer.config.composition import compose
from mer.errors import MerError
from mer.runs import claims, twins
from mer.training import runner
from tests.audit.tampering import change

pytestmark = pytest.mark.usefixtures("one_thread")

Pictures = NDArray[np.uint8]
Clip = tuple[str, str, Pictures]  # subject, clip, flow picture


def clips(seed: int, subjects: Sequence[str]) -> list[Clip]:
    """Three clips of each subject: smooth flow pictures, each stretched to 0 to 255."""
    rng = np.random.default_rng(seed)
    made = []
    for subject in subjects:
        for number in range(3):
            flow = cv2.GaussianBlur(rng.normal(size=(28, 28, 3)), (0, 0), 3)
            low, high = flow.min((0, 1)), flow.max((0, 1))
            made.append((subject, f"c{number}", np.uint8(255 * (flow - low) / (high - low))))
    return made


def noisy(picture: Pictures) -> Pictures:
    change = np.random.default_rng(9).integers(-2, 3, picture.shape)
    return np.clip(picture + change, 0, 255).astype(np.uint8)


def encoded(picture: Pictures) -> Pictures:
    content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    return np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR), np.uint8)


def shifted(picture: Pictures) -> Pictures:
    return np.concatenate([picture[:, :1], picture[:, :-1]], axis=1)


def save(path: Path, made: Sequence[Clip], corpus: str = "made") -> None:
    subjects, names, pictures = zip(*made, strict=True)
    np.savez(
        path,
        flow_bgr=np.stack(pictures),
        label=np.arange(len(made)) % 3,
        subject=np.array(subjects),
        clip=np.array(names),
        corpus=np.array([corpus] * len(made)),
    )


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., DictConfig]:
    """Compose a run of a second on `micro.npz`; further overrides as arguments."""

    def make(*words: str) -> DictConfig:
        return compose(
            [
                "data=htnet_flow",
                f"data.root={tmp_path}",
                "data.micro.flow.root=micro.npz",
                "data.check_counts=false",
                f"paths.cache={tmp_path / 'cache'}",
                "backbone=tiny",
                "input.size=32",
                "macro.enabled=false",
                "model.epochs=1",
                "model.transfer.blocks=all",
                "trainer.accelerator=cpu",
                "trainer.folds_at_once=1",
                "trainer.enable_progress_bar=false",
                "run.dir=unused",
                *words,
            ]
        )

    return make


@pytest.fixture
def refused_runs_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what a refused run has written, as if its process had been killed then."""
    monkeypatch.setattr(claims, "_remove_plans", lambda *_: None)


@pytest.mark.parametrize("copy", [np.array, noisy, encoded, shifted])
def test_a_clip_under_another_person_is_refused_and_fails_the_audit(
    config: Callable[..., DictConfig],
    tmp_path: Path,
    copy: Callable[[Pictures], Pictures],
    refused_runs_stay: None,
) -> None:
    made = clips(0, "abc")
    save(tmp_path / "micro.npz", [*made, ("d", "other", copy(made[4][2])), *clips(1, "d")])
    with pytest.raises(MerError, match=r"column `person`.*distinct=(.|\n)*made/b/c1.*made/d/other"):
        runner.run(config(), tmp_path / "run")
    check = check_twins(Artefacts(tmp_path / "run"))
    assert check.verdict == "fail"
    how = "equals" if copy is np.array else "nearly equals"
    assert "1 pairs of samples of different persons have" in check.evidence
    assert f"made/b/c1 {how} made/d/other" in check.evidence


def test_a_pair_that_the_user_knows_to_differ_is_a_remark(
    config: Callable[..., DictConfig], tmp_path: Path
) -> None:
    made = clips(0, "abc")
    save(tmp_path / "micro.npz", [*made, ("d", "other", noisy(made[4][2])), *clips(1, "d")])
    with pytest.raises(MerError, match="made/d/other"):
        runner.run(config(), tmp_path / "run")
    words = "data.distinct=[[made/d/other,made/b/c1]]"
    assert runner.run(config(words), tmp_path / "run")["status"] == "complete"
    check = check_twins(Artefacts(tmp_path / "run"))
    assert check.verdict == "pass"
    assert "1 pairs that look alike" in check.remark and "made/b/c1 nearly equals" in check.remark


def test_copies_of_one_person_and_splits_by_sample_are_remarks(
    config: Callable[..., DictConfig], tmp_path: Path
) -> None:
    made = clips(0, "abc")
    save(tmp_path / "micro.npz", [*made, ("b", "again", made[4][2])])
    runner.run(config(), tmp_path / "run")
    check = check_twins(Artefacts(tmp_path / "run"))
    assert check.verdict == "pass" and "made/b/again equals made/b/c1" in check.remark

    save(tmp_path / "leaky.npz", [*made, ("a", "other", made[4][2])])
    words = ("data.micro.flow.root=leaky.npz", "protocol=random_samples", "protocol.n_splits=3")
    runner.run(config(*words), tmp_path / "leaky")
    check = check_twins(Artefacts(tmp_path / "leaky"))
    assert check.verdict == "pass" and "made/a/other equals made/b/c1" in check.remark


def test_persons_who_are_never_apart_may_share_a_picture() -> None:
    table = pd.DataFrame(
        {
            "sample_id": ["x/a/1", "x/b/1", "x/c/1"],
            "role": "micro",
            "person": ["a", "b", "c"],
            "kind": "flow",
            "digest": ["7f", "7f", "7f"],
            "signature": [bytes(392)] * 3,
        }
    )
    sides = [(["x/a/1", "x/b/1"], {"x/c/1"})]
    split = twins.sort_out(table, sides, [])
    assert [str(pair) for pair in split.others] == ["x/a/1 equals x/b/1"]
    assert [str(pair) for pair in split.leaks] == ["x/a/1 equals x/c/1", "x/b/1 equals x/c/1"]


@pytest.mark.parametrize("copy", [pytest.param(np.array, marks=pytest.mark.slow), noisy])
def test_a_micro_clip_in_the_macro_pool_under_another_name(
    config: Callable[..., DictConfig],
    tmp_path: Path,
    copy: Callable[[Pictures], Pictures],
    refused_runs_stay: None,
) -> None:
    made = clips(0, "abc")
    save(tmp_path / "micro.npz", made)
    pool = [(f"m{subject}", clip, flow) for subject, clip, flow in clips(1, "abcdef")]
    words = (
        "+data.macro.ck={reader: table, root: macro.npz, array_key: flow_bgr, array_kind: flow, "
        "classes: [anger, happiness, surprise]}",
        "macro.enabled=true",
        "macro.epochs=1",
        "model.transfer.freeze=[]",
    )
    save(tmp_path / "macro.npz", pool, "ckplus")
    assert runner.run(config(*words), tmp_path / "clean")["status"] == "complete"
    check = check_twins(Artefacts(tmp_path / "clean"))
    assert check.verdict == "pass" and "9 micro and 18 macro samples" in check.evidence

    save(tmp_path / "more.npz", [*pool, ("stranger", "x", copy(made[0][2]))], "ckplus")
    with pytest.raises(MerError, match=r"made/a/c0 .*equals ckplus/stranger/x"):
        runner.run(config(*words, "data.macro.ck.root=more.npz"), tmp_path / "run")
    assert "ckplus/stranger/x" in check_twins(Artefacts(tmp_path / "run")).evidence


def test_a_run_goes_on_with_the_pictures_it_began_with_alone(
    config: Callable[..., DictConfig], tmp_path: Path
) -> None:
    made = clips(0, "abc")
    save(tmp_path / "micro.npz", made)
    runner.run(config("protocol.folds=[made-a]"), tmp_path / "run")
    made[0] = (*made[0][:2], shifted(made[0][2]))
    (tmp_path / "other").mkdir()
    save(tmp_path / "other" / "micro.npz", made)
    words = [f"data.root={tmp_path / 'other'}", f"paths.cache={tmp_path / 'other' / 'cache'}"]
    with pytest.raises(MerError, match="pictures have changed"):
        runner.run(config(*words), tmp_path / "run")


def test_synthetic_corpora_give_no_alarm_and_lost_signatures_leave_it_open(run_dir: Path) -> None:
    check = check_twins(Artefacts(run_dir))
    assert check.verdict == "pass" and not check.remark
    change(run_dir / twins.FILE, lambda table: table[table["role"] == "micro"])
    check = check_twins(Artefacts(run_dir))
    assert check.verdict == "unknown" and "no macro sample" in check.evidence
    change(run_dir / twins.FILE, lambda table: table[3:])
    assert "3 samples of the manifest have no" in check_twins(Artefacts(run_dir)).evidence
    (run_dir / twins.FILE).unlink()
    assert check_twins(Artefacts(run_dir)).verdict == "unknown"
