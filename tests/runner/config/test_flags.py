"""Which flags each command has, what it says of others', and what --help shows."""

import functools
import re

import pytest

import launch
from kdjax.core.errors import UserError
from kdjax.runner.cli import COMMANDS, CONFIGS, by_setting, read
from kdjax.runner.config import Experiment, flags, options

ALL = {
  one.flag: one
  for config in (*CONFIGS.values(), Experiment)
  for one in options.options(config)
}
# By hand: which commands have which flags.
HAVE = [
  ("distill text sweep compare cache quantify soft_td synthesise compress list lm",
   "student"),
  ("distill text sweep compare cache quantify soft_td synthesise compress list",
   "dataset image_size task"),
  ("distill text sweep compare cache quantify soft_td synthesise compress export list",
   "data_dir"),
  ("distill text sweep compare cache quantify soft_td synthesise compress",
   "train_split test_split resident_megabytes"),
  ("distill text sweep compare cache soft_td compress",
   "background crop_size length_groups tokenizer images labels omit_classes"),
  ("distill text sweep compare cache soft_td",
   "data_workers views view_seed"),
  ("distill text sweep compare cache soft_td lm",
   "compute_dtype teacher_dtype remat preflight"),
  ("distill text sweep compare cache soft_td synthesise compress",
   "validation"),
  ("distill text sweep compare",
   "class_sampling transfer_dataset transfer_split transfer_images transfer_labels "
   "teacher_view teachers"),
  ("distill text sweep compare lm",
   "pool teacher_weights"),
  ("distill text sweep compare cache quantify soft_td compress",
   "teacher teacher_epochs teacher_batch_size teacher_learning_rate "
   "teacher_optimizer teacher_schedule teacher_augment teacher_seed "
   "augment"),
  ("distill text sweep compare cache compress evaluate lm",
   "teacher_from"),
  ("distill text sweep lm",
   "teacher_cache"),
  ("distill text sweep compare cache compress",
   "teacher_classes teacher_head evaluate_every"),
  ("distill text sweep lm",
   "mesh shard_rules"),
  ("distill text sweep compare cache compress lm",
   "checkpoint_minutes checkpoint_steps"),
  ("distill text sweep",
   "scheme specialists specialist_epochs "
   "specialist_learning_rate chain chain_learning_rate generations route "
   "controls smoothing_learning_rate reference reference_learning_rate "
   "reference_augment shuffled_teacher uniform_teacher noise_teacher "
   "matched_smoothing augmented_learning_rate shard profile_steps "
   "keep_best best_metric nan nan_patience"),
  ("distill text sweep compare cache quantify soft_td synthesise compress lm",
   "resume multihost coordinator_address process_count process_index "
   "init_timeout heartbeat_timeout step_timeout"),
  ("distill text sweep compare quantify soft_td synthesise compress lm",
   "epochs batch_size seeds"),
  ("distill text sweep compare quantify soft_td compress lm",
   "learning_rate optimizer schedule"),
  ("distill text sweep cache compress lm",
   "distillation"),
  ("distill text sweep compare soft_td compress",
   "temperature hard_weight latency"),
  ("distill text sweep compress",
   "method_weight gradient_metrics baseline_learning_rate"),
  ("distill text sweep compress lm",
   "quantization sparsity pruning_scope pruning_structure pruning_begin "
   "pruning_end pruning_every"),
  ("distill text sweep soft_td",
   "label_smoothing"),
  ("compare",
   "methods search_weights search_smoothing search_seeds"),
  ("compare soft_td lm",
   "search_rates"),
  ("quantify",
   "tap weights estimator explained_images grid entropy_weight threshold "
   "foreground_share probes probes_at_once images_at_once compared_images "
   "label_epochs teacher_split quantify_from"),
  ("cache",
   "cache_form cache_top_k cache_dtype cache_taps cache_shards"),
  ("soft_td",
   "sources rounds patience beta pseudo_labels next_sources regulariser "
   "regulariser_weight soft_labels_from project_simplex"),
  ("synthesise",
   "images_per_class inner_steps inner_epochs outer_steps outer_batch_size "
   "network_inits initialisation first_images learn_labels image_rate "
   "rate_rate first_rate fresh_networks real_rates"),
  ("evaluate export generate",
   "from"),
  ("generate",
   "batch_size prompts samples seed"),
  ("generate lm",
   "max_new_tokens sampling"),
  ("export",
   "format network member"),
  ("evaluate",
   "top sequences_at_once"),
  ("cache lm evaluate",
   "text"),
  ("distill text sweep compare compress cache lm evaluate",
   "sequence_length"),
  ("distill text sweep compare compress lm",
   "student_from"),
  ("cache lm",
   "held_out student_from across"),
  ("lm",
   "completions validation_sequences steps evaluations lora policy alternatives "
   "updates_per_rollout prompt_tokens"),
  ("distill text sweep cache lm",
   "accumulate_steps members_at_once"),
  ("distill text sweep compare cache quantify soft_td synthesise compress evaluate export reproduce plot lm generate",
   "workdir"),
  ("distill text sweep compare cache quantify soft_td synthesise compress evaluate export lm generate",
   "profile"),
  ("distill text sweep compare cache quantify soft_td synthesise compress evaluate export reproduce list plot lm generate",
   "accelerator"),
  ("distill text sweep compare cache quantify soft_td synthesise compress evaluate list plot lm generate",
   "host_devices compilation_cache"),
]  # fmt: skip
FLAGS = {
  command: {
    flag
    for have, flags_there in HAVE
    if command in have.split()
    for flag in flags_there.split()
  }
  for command in COMMANDS
}


def typed(flag):
  """A setting at its default, as it is typed: the hardest case to see."""
  return options.as_flag(ALL[flag], ALL[flag].field.default)


@functools.cache
def read_alone(flag):
  """What is read of a flag at its default, whichever the command."""
  words, values = read(["launch.py", typed(flag)])
  assert not words
  return values


def test_every_command_has_the_flags_of_its_class():
  assert set(CONFIGS) == set(COMMANDS)
  assert {name: set(flags.by_flag(CONFIGS[name])) for name in CONFIGS} == FLAGS


def test_no_class_has_a_flag_twice():
  for config in CONFIGS.values():
    every = [one.flag for one in options.options(config)]
    assert len(every) == len(set(every))


@pytest.mark.parametrize("command", COMMANDS)
def test_each_flag_of_other_commands_is_unknown_also_at_its_default(command):
  """All pairs of a command and a flag that it does not have."""
  for flag in ALL.keys() - FLAGS[command]:
    with pytest.raises(UserError) as error:
      flags.check_typed(command, read_alone(flag), CONFIGS)
    message = str(error.value)
    assert message.startswith(f"{typed(flag)}: {command} has no such flag; ")
    having = next(other for other in COMMANDS if flag in FLAGS[other])
    assert f" {having}" in message.rpartition(";")[2]
    assert message.endswith(f"it (launch.py {having} --help)")
    assert "\n" not in message


@pytest.mark.parametrize("command", COMMANDS)
def test_each_flag_of_a_command_is_taken(command):
  words = [typed(flag) for flag in sorted(FLAGS[command])]
  read_words, values = read(["launch.py", command, *words])
  assert read_words == [command]
  assert values.keys() == FLAGS[command]
  flags.check_typed(command, values, CONFIGS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_shows_its_flags_alone(command, capsys):
  assert launch.main(["launch.py", command, "--help"]) == 0
  text = capsys.readouterr().out
  shown = set(re.findall(r"--(?:\[no\])?([a-z_]+):", text))
  shown -= {"help", "version", "experiment", "plugins"}
  others = {"regime"} if "scheme" in FLAGS[command] else set()
  assert shown == FLAGS[command] | others
  assert f"launch.py {command}" in text or command == "distill"
  assert ("--experiment:" in text) == (
    command not in ("evaluate", "export", "generate", "reproduce", "plot")
  )


@pytest.mark.parametrize(
  ("arguments", "flag", "default"),
  [
    # The plain ones, not the demo's 0.2.
    (["--help"], "label_smoothing", "0.1"),
    (["distill", "--help"], "label_smoothing", "0.1"),
    (["distill", "--help"], "distillation", "response"),
    (["distill", "--help"], "teacher_augment", "none"),
    (
      ["distill", "--help", "--experiment=mnist_demo"],
      "label_smoothing",
      "0.2",
    ),
    (["compress", "--help"], "sparsity", "0.8"),
    (["soft_td", "--help"], "labels", "150"),
    (["quantify", "--help"], "dataset", "cluttered_digits"),
    (["synthesise", "--help"], "student", "mlp(64)"),
  ],
)
def test_the_defaults_of_help_are_the_true_ones(
  arguments, flag, default, capsys
):
  assert launch.main(["launch.py", *arguments]) == 0
  text = " ".join(capsys.readouterr().out.split())
  _, _, behind = text.partition(f" --{flag}: ")
  said = re.split(r" --(\[no\])?\w+: ", behind)[0]
  assert f"(default: '{default}')" in said, said


def test_version(capsys):
  assert launch.main(["launch.py", "--version"]) == 0
  assert re.fullmatch(r"kdjax \d+\.\d+\.\d+\n", capsys.readouterr().out)


@pytest.mark.parametrize(
  ("words", "said"),
  [
    ("--rounds=9", "--rounds=9: distill has no such flag; soft_td has it"
     " (launch.py soft_td --help)"),
    ("--temprature 9", "--temprature: distill has no such flag; did you mean"
     " --temperature? (launch.py distill --help)"),
    ("--nolatenzy sweep", "--nolatenzy: sweep has no such flag; did you mean"
     " --latency? (launch.py sweep --help)"),
    ("cache --vews=4", "--vews=4: cache has no such flag; did you mean --views?"
     " (launch.py cache --help)"),
    ("quantify --nolatency", "--nolatency: quantify has no such flag; distill,"
     " sweep, text, compare, compress and soft_td have it (launch.py distill --help)"),
    ("plot norms --experiment=mutual", "--experiment=mutual: plot has no such flag"
     " (launch.py plot --help)"),
  ],
)  # fmt: skip
def test_an_unknown_flag_says_who_has_it(words, said, capsys):
  assert launch.main(["launch.py", *words.split()]) == 2
  assert capsys.readouterr().err == f"launch.py: {said}\n"


@pytest.mark.parametrize(
  ("command", "given", "said"),
  [
    ("compare", {"scheme": "mutual"}, "--scheme=mutual"),
    ("quantify", {"labels": "150"}, "--labels=150"),
    ("synthesise", {"student": "mlp(4)", "teacher": "mlp(9)"}, "--teacher=mlp(9)"),
    ("soft_td", {"teachers": "2"}, "--teachers=2"),
    ("cache", {"sparsity": "0.5"}, "--sparsity=0.5"),
  ],
)  # fmt: skip
def test_what_a_file_sets_is_not_passed_over(command, given, said):
  settings = options.with_flags(Experiment(), given)
  with pytest.raises(UserError) as error:
    flags.check_experiment(command, "mine", settings, CONFIGS)
  line = f"{said}: the experiment mine sets it, and {command} does not heed it"
  assert str(error.value).startswith(line)


@pytest.mark.parametrize(
  ("command", "given"),
  [
    ("compare", {"distillation": "kd(8)", "label_smoothing": "0.2"}),
    ("cache", {"smoothing_learning_rate": "0.1", "views": "4"}),
    ("synthesise", {"teacher_augment": "shift(2)"}),
    ("list", {"scheme": "mutual"}),
  ],
)
def test_what_a_command_makes_itself_is_passed_over(command, given):
  settings = options.with_flags(Experiment(), given)
  flags.check_experiment(command, "mine", settings, CONFIGS)


def test_a_flag_answers_to_its_other_name_too():
  _, typed = read(["launch.py", "--regime=mutual(peers=3)"])
  assert by_setting("distill", typed) == {"scheme": "mutual(peers=3)"}


def test_both_names_of_a_flag_are_one_too_many(capsys):
  given = ["launch.py", "--scheme=mutual", "--regime=alone"]
  assert launch.main(given) == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1
  assert "--scheme=mutual --regime=alone: two names of one flag" in error


def test_another_command_refuses_the_other_name(capsys):
  assert launch.main(["launch.py", "compare", "kd", "--regime=mutual"]) == 2
  error = capsys.readouterr().err
  assert (
    "--regime=mutual: compare has no such flag; distill, sweep and text"
    in error
  )
