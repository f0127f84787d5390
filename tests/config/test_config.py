"""Every file of every config group composes, resolves and is spelt as the code reads it."""

import inspect
from pathlib import Path

import hydra
import pytest
from omegaconf import OmegaConf

from mer.config.composition import compose, conf_dir, to_plain, typed
from mer.data.inputs import INPUTS
from mer.errors import MerError
from mer.runs import rundir
from mer.training import checks
from tests import composed

STUDIES = Path(__file__).parents[2] / "experiments"
GROUPS = {
    group.name: [f"{group.name}={path.stem}" for path in sorted(group.glob("*.yaml"))]
    for group in sorted(conf_dir().iterdir())
    if group.is_dir()
}

#: Groups whose files need certain files of others; those of all others go together.
ALONE = ("data", "debug", "experiment", "macro")
BESIDE = [choices for group, choices in GROUPS.items() if group not in ALONE]
CHOICES = [
    *([choice] for group in ALONE for choice in GROUPS[group]),
    *([group[i % len(group)] for group in BESIDE] for i in range(max(map(len, BESIDE)))),
]


@pytest.mark.parametrize("choices", CHOICES, ids=" ".join)
def test_every_choice_composes_and_passes_the_checks(choices: list[str]) -> None:
    pixels = "backbone=pixels" in choices
    nothing_learns = ["macro.enabled=false", "model.augment=null"] if pixels else []
    cfg = compose([*choices, *nothing_learns])
    assert to_plain(cfg)["seed"] == 0
    settings = typed(cfg)
    if not choices[0].startswith("data"):
        checks.check(settings)


@pytest.mark.parametrize("choice", ["default", "stdout", "none", "disabled"])
def test_the_log_of_hydra_can_be_chosen(choice: str) -> None:
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = hydra.compose(
            "train",
            [f"hydra/job_logging={choice}", "hydra.runtime.output_dir=runs/a"],
            return_hydra_config=True,
        )
    assert cfg.hydra.hydra_logging.formatters == cfg.hydra.job_logging.formatters
    handlers = cfg.hydra.job_logging.get("handlers", {})
    for handler in handlers.values():  # as `logging.config` makes them
        known = ("class", "formatter", "level")
        arguments = {key: value for key, value in handler.items() if key not in known}
        inspect.signature(hydra.utils.get_class(handler["class"])).bind(**arguments)


def test_inputs_of_the_code_and_of_the_configuration_are_the_same() -> None:
    names = {*INPUTS, "bi_woof"}  # the last is named by _target_
    assert set(GROUPS["input"]) == {f"input={name}" for name in names}


def test_bare_train_runs_on_the_synthetic_corpora() -> None:
    cfg = compose([])
    assert cfg.data.name == "synthetic"
    assert cfg.data.generate
    assert cfg.backbone.name == "mobilevit_xxs"
    assert cfg.protocol.name == "loso"


def test_the_demo_differs_from_its_comparison_in_macro_pretraining_alone() -> None:
    demo = to_plain(compose(["experiment=demo"]))
    scratch = to_plain(compose(["experiment=demo_from_scratch"]))
    assert demo["macro"].pop("enabled")
    assert not scratch["macro"].pop("enabled")
    assert demo.pop("run") != scratch.pop("run")
    assert demo == scratch


def test_every_experiment_can_be_debugged_and_lands_apart_from_real_runs() -> None:
    for place, experiment in enumerate(GROUPS["experiment"]):
        debug = ("fast", "limit", "overfit")[place % 3]
        cfg = compose([experiment, f"debug={debug}"])
        assert cfg.run.dir.startswith(f"runs/debug/{debug}-")
        assert cfg.logger == {}
        assert not cfg.data.check_counts
        assert rundir.marked("metrics.json", cfg) == "metrics-DEBUG.json"
        assert (typed(cfg).protocol.name == "all") == (debug == "overfit")


@pytest.mark.parametrize(
    ("study", "name", "further"),
    [
        ("leak-inflation/run.sh", "leak_inflation", []),
        (
            "transfer/real.sh",
            "transfer_real",
            [
                "macro=synthetic_motion",
                "macro.network=mobilenetv2",
                "model.transfer.insertion=gate",
            ],
        ),
        ("transfer/megc2019.sh", "transfer_synthetic", []),
    ],
)
def test_the_experiment_of_a_study_is_what_its_script_types(
    study: str, name: str, further: list[str]
) -> None:
    script = (STUDIES / f"2026-11-{study}").read_text().replace("\\\n", " ")
    lines = (line.strip() for line in script.splitlines())
    (line,) = [line for line in lines if line.startswith("mer train data=")]
    words = [word for word in line.split()[2:] if not word.startswith(("run.dir=", "trainer", '"'))]
    typed_there, here = (
        to_plain(compose([*words, *further])),
        to_plain(compose([f"experiment={name}"])),
    )
    assert typed_there.pop("run") != here.pop("run")
    assert typed_there == here


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["backbone=resnet18", "model.transfer.blocks=mobilenetv2"],
            "set model.transfer.blocks to auto",
        ),
        (["model.transfer.freeze=[stages.9]"], "stages.9: no tensor or module has such a name"),
        (
            ["model.transfer.blocks=[mobilenetv2,stages.3.1]", "macro.network=mobilenetv2"],
            r"takes over transformer blocks \(stages\.3\.1\).*set macro\.network=whole",
        ),
        (
            [
                "model.transfer.insertion=residual",
                "model.transfer.freeze=[stages.2.1.conv_fusion.bn]",
            ],
            r"stages\.2\.1\.conv_fusion\.bn: no tensor",
        ),
        (["backbone.name=vit_tiny_patch16_224"], r"cannot take inputs of 64 x 64 pixels"),
        (["backbone.weights=nowhere.pth"], "there is no such file"),
        (["model.class_weights=[1,2]"], "class_weights has 2 values for 3 classes"),
        (["model.loss._target_=torch.nn.NLLLoss"], "NLLLoss takes no `label_smoothing`"),
        (["macro.optimizer._target_=torch.nn.NLLLoss"], "no subclass of torch.optim.Optimizer"),
    ],
)
def test_the_network_is_made_once_before_anything_is_read(words: list[str], message: str) -> None:
    with pytest.raises(MerError, match=message):
        checks.check(typed(compose(words)))


def test_a_backbone_without_mobilenetv2_blocks_needs_no_further_word() -> None:
    checks.check(typed(compose(["backbone=resnet18"])))


def test_all_contradictions_are_reported_at_once() -> None:
    cfg = compose(
        ["selection=validation", "prepare.flow.method=null", "model.transfer.blocks=null"]
    )
    with pytest.raises(MerError) as error:
        checks.check(typed(cfg))
    for part in (
        "selection=validation needs validation persons",
        "input=flow needs flow, but prepare.flow.method is null",
        "macro.enabled is true, but model.transfer.blocks is null",
    ):
        assert part in str(error.value)


@pytest.mark.parametrize(
    "words",
    [
        ["backbone=pixels", "seed=3", "macro.enabled=false", "model.augment=null"],
        ["experiment=demo", "debug=fast", "logger=wandb", "~logger.wandb"],
        ["model.epochs=4", "model={epochs: 3}", "+callbacks.stop={_target_: collections.Counter}"],
    ],
)
def test_the_composition_of_the_tests_is_hydras(words: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        composed.use(patch, composed.read_file, composed.list_files, composed.merge_files)
        whole = OmegaConf.to_yaml(compose(words))
    for _ in range(2):
        quick = compose(words)
        assert OmegaConf.to_yaml(quick) == whole
        quick.model.epochs = 7  # the next one is none the wiser
