"""`mer app`: the page gives what the library gives, keeps no clip, and asks nothing of others."""

import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mer
from mer.deploy import app
from mer.deploy.prediction import ClipPrediction
from mer.deploy.predictor import Predictor
from mer.deploy.video import NAME_FRAMES
from mer.errors import MerError
from mer.spotting.stream import NAME_RATE
from tests.builders import Config
from tests.deploy.clips import Clip, clip_of, same_scores, write_video


def test_without_gradio_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with (
        mer.load("motion-mlps") as model,
        pytest.raises(MerError, match=r"pip install 'mer\[app\]'"),
        app.opened(model),
    ):
        pass


@pytest.fixture(scope="module")
def model() -> Iterator[Predictor]:
    with mer.load("motion-xxs") as opened:
        yield opened


def test_the_page_names_its_own_fields_and_no_option(model: Predictor) -> None:
    hints = {"reason": f"nothing. {NAME_FRAMES}", "warnings": (f"unknown. {NAME_RATE}",)}
    shown = app.to_html(model, ClipPrediction("a.mkv", **hints), Path("a.mkv"))
    assert "--onset" not in shown and "--fps" not in shown
    assert shown.count("I know the frames") == 2


@pytest.fixture(scope="module")
def page(model: Predictor) -> Iterator[str]:
    pytest.importorskip("gradio")
    with app.opened(model) as address:
        yield address


@pytest.fixture(scope="module")
def clip(tiny_config: Config) -> Clip:
    return clip_of(tiny_config)


def test_clips_in_a_row_give_what_the_library_gives_and_are_removed(
    page: str, model: Predictor, clip: Clip, tmp_path: Path
) -> None:
    from gradio_client import Client, handle_file

    film = write_video(tmp_path / "clip.mkv", clip.pictures)
    expected = model.predict_video(film, onset=clip.onset, apex=clip.apex).as_dict()
    client = Client(page, verbose=False)
    for _ in range(2):
        given = [handle_file(film), f"{clip.onset} {clip.apex}", ""]
        html, plain, left = client.predict(*given, api_name="/look")
        assert left is None
        (found,), (wanted,) = plain["expressions"], expected["expressions"]
        assert found["apex"] == wanted["apex"]
        assert found["prediction"]["label"] == wanted["prediction"]["label"]
        assert same_scores(found["prediction"]["scores"], wanted["prediction"]["scores"])
        assert html.count("<img") == 6  # onset, apex, motion, activation, occlusion, timeline
        assert "http" not in html
    kept = [path for path in Path(os.environ["GRADIO_TEMP_DIR"]).rglob("*") if path.is_file()]
    assert kept == []
    with pytest.raises(Exception, match="is a text file, no video"):
        text = tmp_path / "text.mp4"
        text.write_text("no video")
        client.predict(handle_file(text), None, None, api_name="/look")


def test_the_page_is_for_this_machine_and_loads_nothing_from_elsewhere(page: str) -> None:
    assert page.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(page) as answer:
        policy = answer.headers["content-security-policy"]
    assert policy == app.POLICY
    assert "https:" not in policy and "*" not in policy
    foreign = urllib.request.Request(page, headers={"Host": "elsewhere.example"})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(foreign)


@pytest.fixture
def browser(clip: Clip, tmp_path: Path) -> Iterator[Any]:
    """Chromium without a window, whose camera shows a synthetic clip."""
    playwright = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no Chromium")
    film = tmp_path / "camera.y4m"
    write_raw(film, clip)
    options = ["--no-sandbox", "--use-fake-device-for-media-stream"]
    options += ["--use-fake-ui-for-media-stream", f"--use-file-for-fake-video-capture={film}"]
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=program, args=options)
        yield opened
        opened.close()


@pytest.mark.slow
def test_in_a_browser(page: str, browser: Any, clip: Clip, tmp_path: Path) -> None:
    """Upload on a phone in the dark, then film: a result with pictures, no request elsewhere."""
    film = write_video(tmp_path / "clip.mkv", clip.pictures)
    view = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme="dark")
    asked: list[str] = []
    view.on("request", lambda request: asked.append(request.url))
    view.goto(page)
    view.click("text=I know the frames")
    numbers = view.get_by_label("Onset, apex and offset")
    numbers.fill(f"{clip.onset} {clip.apex}")
    view.set_input_files("input[type=file]", film)
    view.wait_for_selector("#result .clip figure img", timeout=60_000)
    sizes = "[...document.querySelectorAll('#result img')].map(i => i.naturalWidth)"
    assert min(view.evaluate(sizes)) >= 224
    assert view.evaluate("document.documentElement.scrollWidth") <= 390

    numbers.fill("")
    view.click("button[aria-label='Capture from camera']")
    view.click("button:has-text('Click to Access Webcam')")
    view.click("button:has-text('Record')")
    view.wait_for_timeout(3000)
    view.click("button:has-text('Stop')")
    view.wait_for_function(
        "document.querySelector('#result').innerText.includes('frames per second') ||"
        "document.querySelector('#result').innerText.includes('No expression')",
        timeout=60_000,
    )
    foreign = [url for url in asked if not url.startswith((page, "data:", "blob:"))]
    assert foreign == []


def write_raw(path: Path, clip: Clip) -> None:
    """Write a clip as Chromium's camera takes it: YUV4MPEG2, 30 frames a second."""
    import cv2

    height, width = (side // 2 * 2 for side in clip.pictures[0].shape[:2])
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F30:1 Ip A1:1 C420jpeg\n".encode())
        for picture in clip.pictures:
            planes = cv2.cvtColor(picture[:height, :width], cv2.COLOR_RGB2YUV_I420)
            file.write(b"FRAME\n" + planes.tobytes())
