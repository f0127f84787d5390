"""`mer doctor`: every problem is named with its mend, and only real ones fail."""

import json
import sys
import types
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pandas as pd
import pytest

from mer.cli import doctor, installation
from mer.datasets import discovery
from mer.datasets.index import Reading, Remark
from mer.errors import MerError


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], None]:
    """Return a function that makes only the given package versions look installed."""

    def pretend(versions: dict[str, str]) -> None:
        def version(name: str) -> str:
            if name not in versions:
                raise metadata.PackageNotFoundError(name)
            return versions[name]

        monkeypatch.setattr(metadata, "version", version)

    return pretend


def only(checks: list[doctor.Check]) -> doctor.Check:
    assert len(checks) == 1, checks
    return checks[0]


def test_this_machine_has_no_failure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MER_DATA", raising=False)
    assert doctor.main([]) == 0
    shown = capsys.readouterr().out
    assert "FAIL" not in shown
    assert "ok    opencv" in shown
    assert "finds a drawn face" in shown
    assert "note  MER_DATA" in shown


def test_json_has_the_same_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only the report is under test; the checks that import torch and mediapipe run above.
    monkeypatch.setattr(doctor, "check_torch", lambda: [doctor.Check("torch", "FAIL", "x", "y")])
    monkeypatch.setattr(doctor, "check_face_model", lambda: [])
    assert doctor.main(["--json"]) == 1
    lines = json.loads(capsys.readouterr().out)
    assert {"name": "torch", "state": "FAIL", "found": "x", "mend": "y"} in lines
    assert all(line["state"] in ("ok", "note", "warn", "FAIL") for line in lines)


def test_report_aligns_wraps_and_gives_each_mend_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    shown = doctor.report(
        [
            doctor.Check("a", "ok", "fine"),
            doctor.Check("long name", "FAIL", "one two three " * 4, "do this"),
            doctor.Check("b", "warn", "bad", "do this"),
            doctor.Check("c", "note", "never mind", "not needed"),
        ]
    )
    # Names are 9 wide: the text starts in column 4 + 2 + 9 + 2 = 17 and has 60 - 17 = 43 columns.
    assert shown.splitlines() == [
        "ok    a          fine",
        "FAIL  long name  one two three one two three one two three",
        "                 one two three",
        "warn  b          bad",
        "note  c          never mind",
        "",
        "To mend:",
        "  do this",
    ]


def test_an_opencv_that_does_not_load_fails_with_the_exact_mend(
    installed: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed({"opencv-python-headless": "5.0.0.93", "opencv-contrib-python": "5.1.0.95"})
    fail_import(monkeypatch, "cv2", "libGL.so.1: cannot open shared object file: No such file")
    check = only(installation.check_opencv())
    assert check.state == "FAIL"
    assert check.found == "libGL.so.1: cannot open shared object file: No such file"
    mend = "pip install --no-deps --force-reinstall opencv-python-headless"
    assert check.mend == f"{mend}==5.0.0.93"
    installed({"opencv-contrib-python": "5.1.0.95"})
    assert only(installation.check_opencv()).mend == mend


def test_an_opencv_that_loads_is_ok_whatever_brought_it(
    installed: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed({"opencv-contrib-python": "5.1.0.95"})
    monkeypatch.setitem(sys.modules, "cv2", types.SimpleNamespace(__version__="5.1.0"))
    assert only(installation.check_opencv()) == ("opencv", "ok", "5.1.0", "")


def fail_import(monkeypatch: pytest.MonkeyPatch, name: str, message: str) -> None:
    def broken(module: str) -> types.ModuleType:
        assert module == name
        raise ImportError(message)

    monkeypatch.setattr(installation.importlib, "import_module", broken)


@pytest.mark.parametrize(
    ("message", "packages"),
    [
        ("/usr/lib/libEGL.so.1: cannot open shared object file", "libegl1 libgles2"),
        ("libGLESv2.so.2: cannot open shared object file", "libegl1 libgles2"),
    ],
)
def test_a_missing_system_library_names_its_package(
    message: str, packages: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(picture: object) -> bool:
        raise OSError(message)

    monkeypatch.setattr(installation, "_finds_face", broken)
    monkeypatch.setattr(installation, "_draw_face", lambda: None)  # by the cv2 that is not there
    monkeypatch.setitem(sys.modules, "cv2", types.ModuleType("cv2"))
    check = only(installation.check_face_model())
    assert check.state == "FAIL"
    assert check.found == message
    assert check.mend == f"sudo apt-get install -y {packages}  (Debian, Ubuntu)"
    monkeypatch.delitem(sys.modules, "cv2")  # where OpenCV itself is broken, its own mend is enough
    assert only(installation.check_face_model()).mend == ""


def test_an_altered_face_model_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray(installation.FACE_MODEL.read_bytes())
    content[1000] ^= 1
    altered = tmp_path / "face_landmarker.task"
    altered.write_bytes(content)
    monkeypatch.setattr(installation, "FACE_MODEL", altered)
    check = only(installation.check_face_model())
    assert check.state == "FAIL"
    assert check.found == f"{altered} has 3758596 bytes and another checksum than it should"


def test_a_missing_face_model_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "FACE_MODEL", tmp_path / "gone.task")
    check = only(installation.check_face_model())
    assert (check.state, check.found) == ("FAIL", f"{tmp_path / 'gone.task'} is missing")


def test_package_floors_come_from_the_installed_metadata(
    installed: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = ["timm>=1.0.20", "rich>=13.7", "xlrd>=2.0.1", 'optuna>=4.0; extra == "search"']
    monkeypatch.setattr(metadata, "requires", lambda name: needs)
    installed({"timm": "0.9.2", "rich": "15.0.0"})
    assert [tuple(check) for check in installation.check_packages()] == [
        ("timm", "FAIL", "0.9.2, needed >=1.0.20", "pip install 'timm>=1.0.20'"),
        ("xlrd", "FAIL", "not installed", "pip install 'xlrd>=2.0.1'"),
        ("optuna", "note", "not installed (extra `search`)", "pip install 'optuna>=4.0'"),
    ]


def test_mer_data_unset_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MER_DATA", raising=False)
    assert only(doctor.check_datasets()).state == "note"


def test_mer_data_that_points_at_nothing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MER_DATA", str(tmp_path / "gone"))
    check = only(doctor.check_datasets())
    assert (check.state, check.found) == ("FAIL", f"{tmp_path / 'gone'} is not a folder")


def test_found_datasets_are_read_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("CASME II", "SAMM"):
        (tmp_path / folder).mkdir()

    def read(name: str, root: Path) -> Reading:
        if name == "samm":
            raise MerError("SAMM.xlsx is missing\n  - more")
        table = pd.DataFrame({"subject": ["a", "a", "b"]})
        return Reading(table, [Remark("x", "dropped", "r"), Remark("y", "mended", "r")])

    monkeypatch.setattr("mer.datasets.read", read, raising=False)
    monkeypatch.setenv("MER_DATA", str(tmp_path))
    found = {check.name: check for check in doctor.check_datasets()}
    assert found["casme2"].state == "ok"
    assert found["casme2"].found.startswith("3 samples, 2 subjects, in ")
    assert found["samm"].state == "warn"
    assert found["samm"].found == f"{tmp_path / 'SAMM'}: SAMM.xlsx is missing - more"
    assert found["samm"].mend.startswith("python -m pydoc mer.datasets.readers.samm")
    assert found["datasets"].found == "no folder for smic, ckplus, ck48, oulu_casia, mug"


def test_folders_are_recognised_by_usual_names(tmp_path: Path) -> None:
    names = {
        "casme2": "CASME2-RAW",
        "samm": "samm",
        "smic": "SMIC_all_raw",
        "ckplus": "CK+",
        "ck48": "CK+48",
        "oulu_casia": "Oulu-CASIA NIR&VIS",
    }
    for folder in (*names.values(), "SAMM_longvideos", "holiday pictures"):
        (tmp_path / folder).mkdir()
    found = discovery.discover(tmp_path)
    assert {n: p.name for n, p in found.items() if isinstance(p, Path)} == names
    assert found["mug"] == f"no folder mug in {tmp_path}"


def test_wandb_login_is_read_from_the_netrc_file(
    installed: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    installed({"wandb": "0.31.0"})
    netrc = tmp_path / "netrc"
    monkeypatch.setenv("NETRC", str(netrc))
    assert only(doctor.check_wandb()).state == "note"
    netrc.write_text("machine api.wandb.ai login user password secret-word\n")
    netrc.chmod(0o600)
    check = only(doctor.check_wandb())
    assert (check.state, check.found) == ("ok", "logged in at api.wandb.ai")
