"""`mer app`: a page on this machine that shows what a model says of a clip.

It is served to this machine alone, asks nothing of any other, and keeps no clip: a clip is removed
once it was looked at, and pictures of it go into the page without a file.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mer.deploy import expression_pictures
from mer.deploy.prediction import ClipPrediction, FoundExpression, Prediction
from mer.deploy.predictor import Predictor
from mer.deploy.video import NAME_FRAMES
from mer.errors import MerError, printable
from mer.pages.rendering import render
from mer.runs import coverage
from mer.spotting.stream import NAME_RATE

#: What the browser may load: this page's own files, and nothing from elsewhere.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "frame-ancestors 'none'"
)

#: Names under which the page may be asked for, so that no other site can reach it by a name of its.
HOSTS = ("127.0.0.1", "localhost")

LARGEST_FILE = "2gb"

#: Title of the fields for the frames and their rate.
KNOWN = "I know the frames"

FONTS = ("system-ui", "sans-serif")


@contextmanager
def opened(predictor: Predictor, port: int | None = None, browser: bool = False) -> Iterator[str]:
    """Serve the page while the context lasts, by default on a free port from 7860 on.

    Yields:
        Address of the page.

    Raises:
        MerError: If Gradio is not installed, or the port is taken.
    """
    folder, page = tempfile.mkdtemp(prefix="mer-app-"), None
    try:
        gradio = _gradio(folder)
        page = build(gradio, predictor)
        _, address, _ = page.launch(
            server_name=HOSTS[0],
            server_port=port,
            inbrowser=browser,
            share=False,
            prevent_thread_lock=True,
            quiet=True,
            footer_links=[],
            max_file_size=LARGEST_FILE,
            enable_monitoring=False,
            ssr_mode=False,
            app_kwargs={"middleware": _middleware()},
            theme=gradio.themes.Base(primary_hue="blue", font=FONTS, font_mono=("monospace",)),
        )
        yield address
    except OSError as error:
        raise MerError(f"the page cannot be served: {error}; --port names another port") from error
    finally:
        if page is not None:
            page.close(verbose=False)
        shutil.rmtree(folder, ignore_errors=True)


def build(gradio: Any, predictor: Predictor) -> Any:
    """Make the page."""

    def look(
        clip: str | None,
        frames: str | None,
        fps: str | None,
        progress: Any = gradio.Progress(),  # noqa: B008  Gradio recognises it by its default
    ) -> tuple[str, dict[str, Any] | None, None]:
        if clip is None:
            return "", None, None
        try:
            return *answer(predictor, Path(clip), frames or "", fps or "", progress), None
        except MerError as error:
            raise gradio.Error(printable(str(error)), duration=None) from error

    facts = predictor.facts
    with gradio.Blocks(title="mer", analytics_enabled=False) as page:
        gradio.Markdown(
            f"# mer\nDrop a clip of a face, or film one. `{facts.name}` says "
            f"{', '.join(facts.classes[:-1])} or {facts.classes[-1]}. The clip stays on this "
            "machine and is deleted once it was looked at."
        )
        with gradio.Row():
            with gradio.Column(scale=2, min_width=300):
                clip = gradio.Video(
                    label="Clip",
                    sources=["upload", "webcam"],
                    include_audio=False,
                    webcam_options=gradio.WebcamOptions(mirror=False),
                )
                # Gradio would ask for FFmpeg, to take out a sound that is never looked at.
                clip.preprocess = lambda given: None if given is None else str(given.path)
                with gradio.Accordion(KNOWN, open=False):
                    frames = gradio.Textbox(
                        label="Onset, apex and offset", placeholder="12 20 31 (the first is 0)"
                    )
                    fps = gradio.Textbox(label="Frames per second", placeholder="as the clip says")
            with gradio.Column(scale=3, min_width=300):
                shown = gradio.HTML(elem_id="result")
                with gradio.Accordion("All numbers", open=False):
                    plain = gradio.JSON()
        for number, event in enumerate((clip.upload, clip.stop_recording)):
            event(
                look,
                [clip, frames, fps],
                [shown, plain, clip],
                api_name=False if number else "look",
            )
        known = facts.calibration.get(facts.heads[0])
        notes = [] if known is None else [f"Confidence is calibrated on {known.words}."]
        gradio.Markdown("\n".join(f"- {sentence}" for sentence in (*facts.warnings, *notes)))
    page.queue(default_concurrency_limit=1)
    return page


def answer(
    predictor: Predictor,
    clip: Path,
    frames: str,
    fps: str,
    progress: Callable[..., Any],
) -> tuple[str, dict[str, Any]]:
    """Look at a clip and remove it, with its folder; `frames` and `fps` are as they were typed."""
    try:
        numbers = [int(number) for number in _numbers(frames, "Onset, apex and offset", (0, 2, 3))]
        result = predictor.predict_video(
            clip,
            *_numbers(fps, "Frames per second", (0, 1)),
            **dict(zip(("onset", "apex", "offset"), numbers, strict=False)),
            progress=lambda done, count: progress((done, count), unit="frames"),
        )
    except MerError as error:
        raise MerError(str(error).replace(str(clip), clip.name)) from None
    finally:
        shutil.rmtree(clip.parent, ignore_errors=True)
    return to_html(predictor, result, clip), result.as_dict() | {"source": clip.name}


def _numbers(text: str, name: str, counts: tuple[int, ...]) -> list[float]:
    """Read numbers with spaces or commas between them."""
    words = text.replace(",", " ").split()
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if len(words) not in counts or len(numbers) != len(words):
        raise MerError(f"{name}: {text} is not {' or '.join(map(str, counts[1:]))} numbers")
    return numbers


def to_html(predictor: Predictor, result: ClipPrediction, clip: Path) -> str:
    """Show a result: a part of a page, with its pictures inside."""
    return render(
        "clip.html.j2",
        expressions=[_shown(predictor, result, one) for one in result.expressions],
        reason=None if result.reason is None else _on_page(result.reason),
        timeline=expression_pictures.timeline(result) if result.expressions else None,
        warnings=[_on_page(text.replace(str(clip), clip.name)) for text in result.warnings],
    )


def _on_page(text: str) -> str:
    """Name the fields of the page in place of options."""
    field = f"If you know better, open `{KNOWN}`"
    return text.replace(NAME_FRAMES, field).replace(NAME_RATE, field)


def _shown(predictor: Predictor, result: ClipPrediction, one: FoundExpression) -> dict[str, Any]:
    said = one.prediction
    units = sorted((said.units or {}).items(), key=lambda unit: -unit[1])
    known = predictor.facts.calibration.get(predictor.facts.heads[0])
    sure = []
    if said.confidence is not None and known is not None and known.coverage:
        sure = [coverage.standing(known.coverage, said.confidence)]
    shares = sorted(_shares(said).items(), key=lambda share: -share[1])
    words = [f"face {one.face}"] if (result.faces or 1) > 1 else []
    if one.onset and one.apex:
        end = one.offset or one.apex
        words.append(f"{one.onset.seconds:.2f} to {end.seconds:.2f} s")
        words.append(f"height at {one.apex.seconds:.2f} s (frame {one.apex.frame})")
    if said.strength is not None:
        still = "" if said.still is None else f", a still face shows up to {said.still:.2f}"
        words.append(f"motion {said.strength:.2f} px{still}")
    sentences = [*([said.reason] if said.reason else []), *sure, *said.warnings]
    return {
        "label": said.label or "No label",
        "confidence": None if said.confidence is None else f"{100 * said.confidence:.0f} %",
        "words": ", ".join(words),
        "scores": ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares),
        "pictures": expression_pictures.pictures(predictor, one),
        "units": [{"name": name, "percent": round(100 * value)} for name, value in units[:5]],
        "sentences": [text[:1].upper() + text[1:] for text in sentences],
    }


def _shares(said: Prediction) -> dict[str, float]:
    """Class -> share: calibrated where there is a calibration, else as the main head scores it."""
    each = said.probabilities or said.scores
    return next(iter(each.values()), {})


def _gradio(folder: str) -> Any:
    """Import Gradio such that it reports nothing and keeps its files in a folder of this page."""
    os.environ.update(GRADIO_TEMP_DIR=folder, GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1")
    try:
        import gradio
    except ImportError as error:
        raise MerError(f"mer app needs Gradio ({error}): pip install 'mer[app]'") from error
    return gradio


def _middleware() -> list[Any]:
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    return [Middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS)), Middleware(_Policy)]


class _Policy:
    """Sends `POLICY` with every answer."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", [])]
                message["headers"] = [*headers, (b"content-security-policy", POLICY.encode())]
            await send(message)

        await self._app(scope, receive, with_policy)
