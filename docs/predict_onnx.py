"""Label an onset and an apex with a file of `mer export`, without mer and without PyTorch.

    pip install onnxruntime numpy opencv-python-headless mediapipe
    python predict_onnx.py model.onnx face_landmarker.task onset.png apex.png

The face model is mer/assets/face_landmarker.task (Apache-2.0, by Google). What is done to the
pictures stands in the file's metadata; settings that this script does not cover are refused.
"""

import json
import sys

import cv2
import mediapipe
import numpy as np
import onnxruntime
from mediapipe.tasks.python import BaseOptions, vision

# Landmark -> place in the canonical face, in outer-eye distances; hairline and chin; face oval.
# fmt: off
CANONICAL = {
    33: (-0.5, 0.0), 133: (-0.2, 0.016), 362: (0.2, 0.016), 263: (0.5, 0.0), 168: (0.0, -0.034),
    4: (0.0, 0.321),
}
FACE_TOP, FACE_BOTTOM = -0.50, 1.11
OVAL = [
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
    148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
]
# fmt: on
FRAMES = {"apex": ["apex"], "onset_apex": ["onset", "apex"], "apex_flow": ["apex"], "flow": []}


def main(model, face_model, onset, apex):
    """Print what a model says of two picture files, as JSON."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    facts = json.loads(session.get_modelmeta().custom_metadata_map["mer"])
    pictures = [cv2.imread(path, cv2.IMREAD_COLOR) for path in (onset, apex)]
    if any(picture is None or picture.shape != pictures[0].shape for picture in pictures):
        sys.exit("the pictures cannot be read, or differ in size")
    pictures = [cv2.cvtColor(picture, cv2.COLOR_BGR2RGB) for picture in pictures]
    image = network_input(*pictures, facts, face_model)
    print(json.dumps(predict(session, facts, image), indent=2))


def predict(session, facts, image):
    """Label, scores of each head, calibrated confidence and action units of an input."""
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(names, {"image": image}), strict=True))
    heads, classes = facts["heads"], facts["classes"]
    main, number = heads[0], int(found[f"{heads[0]}_label"][0])
    scores = {head: dict(zip(classes, map(float, found[head][0]), strict=True)) for head in heads}
    result = {"label": classes[number], "scores": scores, "confidence": None}
    if main in facts.get("calibration", {}):
        fitted = facts["calibration"][main]
        shown = logits(found[main][0].astype(np.float64), fitted["form"])
        shown = np.exp((shown - shown.max()) / fitted["temperature"])
        result["confidence"] = float(shown[number] / shown.sum())
    if "units" in found:
        sides = found["units"][0].reshape(2, -1).max(axis=0)  # the stronger half of the face
        result["units"] = {f"AU{n}": float(s) for n, s in zip(facts["units"], sides, strict=True)}
    return result


def logits(scores, form):
    """Scores of a head as its calibration takes them: votes of an SVM as sums of margins. (K,)."""
    if form == "probabilities":
        return np.log(np.maximum(scores, np.finfo(float).tiny))
    if form != "votes":
        return scores
    there = np.isfinite(scores)  # a class without a training sample has minus infinity
    others, plain = max(there.sum() - 1, 1), np.where(there, scores, 0)
    part = 3 * np.clip(plain - plain.round(), -0.333, 0.333)
    sums = plain if others == 1 else part / (1 - np.abs(part))
    return np.where(there, others * np.tanh(sums / others), -np.inf)


def network_input(onset, apex, facts, face_model):
    """From two RGB pictures, uint8 (H, W, 3), to the network's input. (1, C, S, S), float32."""
    prepare, options = facts["prepare"], facts["input"]
    refuse_others(prepare, options)
    size, motion = prepare["size"], None
    first, _ = landmarks((onset, apex), face_model, prepare["confidence"])
    if np.ptp(first[:, 0]) < prepare["min_face"]:
        sys.exit("the face is too small")
    matrix = similarity(first, size, prepare["margin"])
    onset, apex = (crop(picture, matrix, size) for picture in (onset, apex))
    if "flow" in options["name"]:
        moved = (first @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
        face = np.zeros((size, size), np.uint8)
        cv2.fillPoly(face, [moved[OVAL].round().astype(np.int32)], 1)
        gray = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (onset, apex)]
        motion = flow(*gray, prepare["flow"], face.astype(bool))
    return build(onset, apex, motion, options)


def refuse_others(prepare, options):
    """End with the name of each setting that this script does not cover."""
    given = {
        "input": options.get("_target_") or options["name"],
        "prepare.faces": prepare["faces"],
        "prepare.flow": prepare["flow"].get("_target_") or prepare["flow"]["method"],
    }
    covered = [*FRAMES, "landmarks", "dis"]
    if others := [f"{key}={value}" for key, value in given.items() if value not in covered]:
        sys.exit(f"this script does not cover {', '.join(others)}")


def landmarks(pictures, face_model, confidence):
    """Landmarks of the largest face of each picture, (478, 2), in pixels, by MediaPipe."""
    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(face_model)),
        num_faces=4,
        min_face_detection_confidence=confidence,
    )

    def detect(rgb):
        data = np.ascontiguousarray(rgb)
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=data)
        faces = [[(p.x, p.y) for p in one] for one in finder.detect(image).face_landmarks]
        faces = np.array(faces, np.float32).reshape(len(faces), -1, 2)
        faces = faces * np.array(rgb.shape[1::-1], np.float32) - np.float32(0.5)
        return sorted(faces, key=lambda one: -np.prod(np.ptp(one, axis=0)))

    found = []
    with vision.FaceLandmarker.create_from_options(options) as finder:
        for picture in pictures:
            (height, width), faces = picture.shape[:2], detect(picture)
            y, x = height // 2, width // 2
            if not faces:  # it touches the border: try with a black one
                wide = cv2.copyMakeBorder(picture, y, y, x, x, cv2.BORDER_CONSTANT, value=(0, 0, 0))
                faces = [one - np.array([x, y], np.float32) for one in detect(wide)]
            y, x = height // 4, width // 4
            if not faces:  # it is small: try the middle
                middle = detect(picture[y : height - y, x : width - x])
                faces = [one + np.array([x, y], np.float32) for one in middle]
            if not faces:
                sys.exit("no face in a picture")
            found.append(faces[0])
    return found


def similarity(points, size, margin):
    """The transform (2, 3) that takes a face to its place in the crop (Umeyama, 1991)."""
    side = (FACE_BOTTOM - FACE_TOP) * (1 + 2 * margin)
    middle = np.array([0.0, (FACE_TOP + FACE_BOTTOM) / 2])
    target = (np.array(list(CANONICAL.values())) - middle) * (size / side) + (size - 1) / 2
    source = points[list(CANONICAL)].astype(np.float64)
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    source, target = source - source_mean, target - target_mean
    left, singular, right = np.linalg.svd(target.T @ source)
    signs = np.array([1.0, np.sign(np.linalg.det(left @ right))])
    linear = (left * signs) @ right * ((singular * signs).sum() / (source**2).sum())
    return np.column_stack([linear, target_mean - linear @ source_mean])


def crop(rgb, matrix, size):
    """Cut the face out of a picture, shrinking by area first where it is large."""
    (height, width), scale = rgb.shape[:2], float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale < 0.5:
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        rgb = cv2.resize(rgb, small, interpolation=cv2.INTER_AREA)
        x, y = width / small[0], height / small[1]
        matrix = matrix @ np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])
    how = {"flags": cv2.INTER_CUBIC, "borderMode": cv2.BORDER_REPLICATE}
    return cv2.warpAffine(rgb, matrix, (size, size), **how)


def flow(onset, apex, settings, face):
    """Motion from onset to apex: u, v and strain. (3, H, W), float16, as a store keeps it."""
    if np.array_equal(onset, apex):
        return np.zeros((3, *onset.shape), np.float16)
    field = dis(onset, apex, settings["dis"])
    if settings["stabilise"]:
        field = field - head_motion(field, face)
    if settings["face_only"]:
        soft = cv2.GaussianBlur(face.astype(np.float32), (0, 0), face.shape[1] / 50)
        field = field * soft[..., None]
    u, v = np.ascontiguousarray(np.moveaxis(field, -1, 0), np.float32)
    (du_dy, du_dx), (dv_dy, dv_dx) = np.gradient(u), np.gradient(v)
    strain = np.sqrt(du_dx**2 + dv_dy**2 + 2 * ((du_dy + dv_dx) / 2) ** 2).astype(np.float32)
    return np.stack([u, v, strain]).astype(np.float16)


def dis(onset, apex, options):
    """Dense inverse search, then a variational refinement at full resolution. (H, W, 2)."""
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(options["finest_scale"])
    search.setPatchSize(options["patch_size"])
    search.setPatchStride(options["patch_stride"])
    sigma = options["smooth"]  # 0 leaves the pictures as they are
    blurred = [cv2.GaussianBlur(one, (0, 0), sigma) if sigma else one for one in (onset, apex)]
    field = search.calc(*blurred, None)
    if options["refinements"]:
        last = cv2.VariationalRefinement.create()
        last.setAlpha(options["smoothness"])
        last.setSorIterations(options["refinements"])
        pair = [one.astype(np.float32) for one in (onset, apex)]
        pair = [cv2.GaussianBlur(one, (0, 0), sigma) if sigma else one for one in pair]
        field = last.calc(*pair, field)
    return field


def head_motion(field, face):
    """The rigid motion that most of the face agrees on, to be taken out. (H, W, 2), float32."""
    height, width = field.shape[:2]
    x, y = np.meshgrid(np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2)
    inside = np.zeros((height, width), bool)
    inside[::4, ::4] = True
    if (inside & face).sum() >= 16:
        inside &= face
    px, py, (u, v) = x[inside], y[inside], field[inside].T.astype(np.float64)
    one, zero = px * 0 + 1, px * 0
    rows = [np.stack([px, -py, one, zero], axis=1), np.stack([py, px, zero, one], axis=1)]
    design, target = np.concatenate(rows), np.concatenate([u, v])
    weight = np.ones_like(target)
    for _ in range(10):
        weighted = design * weight[:, None]
        solution = np.linalg.lstsq(weighted.T @ design, weighted.T @ target, rcond=None)[0]
        residual = np.hypot(*(design @ solution - target).reshape(2, -1))
        spread = 1.5 * np.median(residual) + 0.02
        weight = np.tile(1 / (1 + (residual / spread) ** 2) ** 2, 2)
    a, b, c, d = solution
    return np.stack([a * x - b * y + c, b * x + a * y + d], axis=-1).astype(np.float32)


def build(onset, apex, motion, options):
    """Resize, centre, scale and blur the channels that the network sees. (1, C, S, S)."""
    size = options["size"]

    def resize(picture):
        picture = np.asarray(picture, np.float32)
        if picture.shape[:2] == (size, size):
            return picture
        how = cv2.INTER_AREA if picture.shape[0] > size else cv2.INTER_LINEAR
        return cv2.resize(picture, (size, size), interpolation=how)

    given = {"onset": onset, "apex": apex}
    channels = [resize(given[one]) / 255 for one in FRAMES[options["name"]]]
    if motion is not None:
        resized = resize(np.moveaxis(motion.astype(np.float32), 0, 2))
        resized[..., :2] *= size / motion.shape[-1]
        if options["center"] == "median":
            resized[..., :2] -= np.median(resized[..., :2], axis=(0, 1))
        if options["scale"] != "none":
            if options["center"] == "median":
                resized[..., 2] -= np.median(resized[..., 2])
            square = np.square(resized, dtype=np.float64).mean(axis=(0, 1))
            if options["scale"] == "joint":
                square[:2] = square[:2].mean()
            resized /= np.maximum(np.sqrt(square), 1e-6).astype(np.float32)
        if sigma := options["blur"]:
            resized = cv2.GaussianBlur(resized, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
        channels.append(resized)
    image = np.concatenate(channels, axis=2)
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if len(sys.argv) == 5 else __doc__)
