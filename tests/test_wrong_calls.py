"""Every public function says in one line what it was given and what it takes."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import PartitionSpec as P

import kdjax
from kdjax.core.errors import UserError
from kdjax.train.distill import Distilled

IMAGES = np.ones((6, 4), np.float32)
BATCH = {"image": IMAGES, "label": np.zeros(6, np.int32)}
TASK = kdjax.tasks.classification(4)
KEY = jax.random.key(0)
MODULE = nn.Dense(4)
STUDENT = kdjax.from_linen(MODULE, classifier=None)
VARIABLES = {"params": {"kernel": jnp.ones((4, 4)), "bias": jnp.zeros(4)}}
TEACHER = kdjax.live_teacher(STUDENT, VARIABLES)
SERVED = kdjax.served_teacher(
  "http://localhost:1/v1", classes=9, top_k=4, model="m"
)
METHOD = kdjax.make_method("kd")
GOAL = kdjax.objective(METHOD, STUDENT, TASK)
SGD = optax.sgd(0.1)
DONE = Distilled(VARIABLES, {"accuracy": 0.5}, [])


def called(function, *given, **options):
  """A call that is wrong in what is given: its name, and the call."""
  return function, given, options


def distill(**change):
  given = {"student": STUDENT, "teacher": TEACHER, "batches": BATCH}
  given |= {"task": TASK, "optimizer": SGD, "epochs": 1, "key": KEY}
  given |= {"batch_size": 3, "progress": False}
  return called("distill", **given | change)


def step(**change):
  return called("make_step", **{"objective": GOAL, "optimizer": SGD} | change)


def cached(**change):
  given = {"folder": "nowhere", "teacher": TEACHER, "batches": BATCH}
  return called("write_teacher_cache", **given | {"task": TASK} | change)


def reported(**change):
  given = {"folder": "nowhere", "student": DONE, "task": TASK}
  return called("report", **given | change)


def checked(**change):
  given = {"objective": GOAL, "optimizer": SGD, "batch": BATCH}
  return called("check", **given | {"teacher": TEACHER} | change)


def continued(**change):
  given = {"network": STUDENT, "variables": VARIABLES, "prompts": [[1, 2]]}
  return called("generate", **given | {"max_new_tokens": 3} | change)


def served(url="http://localhost:1/v1", **change):
  return called("served_teacher", url, **{"classes": 9, "top_k": 4} | change)


def mesh():
  return jax.make_mesh((1,), ("data",))


A_NETWORK = "takes a Network from from_linen, from_nnx or from_apply; got"
A_TEACHER = "takes a Teacher from live_teacher, stored_teacher or ensemble; got"
A_TASK = r"takes a Task, such as kdjax.tasks.classification\(10\); got"
A_KEY = r"takes one PRNG key, such as jax.random.key\(0\); got"

WRONG = [
  (distill(student=MODULE), f"student= {A_NETWORK} Dense, which from_linen"),
  (distill(student=nn.Dense), f"{A_NETWORK} a class; give .*Dense"),
  (
    distill(student=kdjax.from_nnx(nnx.Linear(4, 4, rngs=nnx.Rngs(0)))),
    f"{A_NETWORK} a tuple of 2",
  ),
  (distill(student=None), f"{A_NETWORK} None"),
  (distill(teacher=STUDENT), f"teacher= {A_TEACHER} Network"),
  (distill(task="classification"), f"task= {A_TASK} 'classification'"),
  (distill(task=kdjax.tasks.classification), f"{A_TASK} the function classif"),
  (distill(method=3), "method= takes a Method from make_method; got 3"),
  (distill(method=kdjax.make_method), "got the function make_method"),
  (distill(optimizer=optax.adam), "optimizer= takes .*got the function adam"),
  (distill(placement="jit"), "placement= takes a Placement.*got 'jit'"),
  (distill(placement=kdjax.jit), "got the function jit"),
  (distill(checkpoints="folder"), "checkpoints= takes kdjax.Checkpoints"),
  (distill(callbacks=len), "callbacks= takes a list of functions.*function len"),
  (distill(callbacks=[3]), "callbacks= takes a list of functions.*got 3"),
  (distill(progress="yes"), "progress= takes True, False or 'lines'"),
  (distill(key=0), f"key= {A_KEY} 0"),
  (distill(key=jax.random.split(KEY)), rf"{A_KEY} an array of key.*\[2\]"),
  (distill(key=jnp.zeros(2)), rf"{A_KEY} an array of float32\[2\]"),
  (distill(epochs="3"), "epochs= takes a whole number >= 1; got '3'"),
  (distill(batch_size=-3), "batch_size= takes a whole number >= 1; got -3"),
  (distill(variables=[1]), "variables= takes arrays by collection"),
  (distill(variables=VARIABLES["params"]), "variables= takes arrays by coll"),
  (distill(batches=None), "nothing can be read from a NoneType"),
  (distill(score_on=3), "nothing can be read from a int"),
  (step(objective="kd"), r"objective= takes an Objective from .*got 'kd'"),
  (step(optimizer="adam"), "optimizer= takes an optimiser of optax"),
  (step(placement="pmap"), "placement= takes a Placement"),
  (step(dtype="bf17"), "dtype= takes a floating type.*got 'bf17'"),
  (step(dtype="int8"), "dtype= takes a floating type.*got 'int8'"),
  (step(average="x"), r"average= takes a decay in \[0, 1\), or None; got 'x'"),
  (step(average=1.0), "average= takes a decay"),
  (step(pieces="2"), "pieces= takes a whole number >= 1; got '2'"),
  (called("objective", "kd", STUDENT, TASK), "method= takes a Method"),
  (called("objective", METHOD, MODULE, TASK), f"student= {A_NETWORK}"),
  (called("objective", METHOD, TASK, STUDENT), f"student= {A_NETWORK} Task"),
  (called("objective", METHOD, STUDENT, "text"), f"task= {A_TASK} 'text'"),
  (checked(objective="kd"), "objective= takes an Objective"),
  (checked(teacher=BATCH), f"teacher= {A_TEACHER} a dict of 2"),
  (checked(batch=[IMAGES]), "a batch is a mapping of arrays by name, got list"),
  (checked(variables="x"), "variables= takes arrays by collection.*got 'x'"),
  (called("make_method", None), "method= takes a text; got None"),
  (called("make_method", "kd", task="x"), f"task= {A_TASK} 'x'"),
  (called("make_method", "kd", steps="9"), "steps= takes a whole number"),
  (called("make_method", "crd", examples=0), "examples= takes a whole number"),
  (called("make_method", "soft(3)"), "'soft' is a whole objective.*'kd'"),
  (called("live_teacher", MODULE, VARIABLES), f"network= {A_NETWORK} Dense"),
  (called("live_teacher", STUDENT, None), "variables= takes arrays by coll"),
  (called("live_teacher", STUDENT, {"kernel": 1}), "variables= takes arrays"),
  (called("live_teacher", STUDENT, VARIABLES, dtype="bf17"), "dtype= takes"),
  (called("stored_teacher", "abc"), "answers= takes an array; got 'abc'"),
  (called("stored_teacher", [[0.0, 1.0], [1.0]]), "answers= takes an array"),
  (called("stored_teacher", np.zeros((6, 4), int)), "answers= takes floating"),
  (called("stored_teacher", np.float32(3)), "one row an example"),
  (called("stored_teacher", IMAGES, [1]), "features= takes arrays by tap"),
  (called("stored_teacher", IMAGES, {"a": IMAGES[1:]}), "'a' has 5 rows.*6"),
  (served(3), "url= takes an endpoint such as .*got 3"),
  (served("localhost:8000/v1"), "url= takes an endpoint"),
  (served("http://:80/v1"), "url= takes an endpoint"),
  (served("http://me:secret@localhost/v1"), "variable KDJAX_TEACHER_KEY"),
  (served(classes=1), "classes= takes a whole number >= 2; got 1"),
  (served(top_k=0), "top_k= takes a whole number >= 1; got 0"),
  (served(top_k=9), "top_k=9: there are 9 tokens; ask for 1 to 8"),
  (served(model=3), "model= takes a text; got 3"),
  (served(timeout="1"), "timeout= takes seconds > 0; got '1'"),
  (served(tries=0, model="m"), "tries= takes a whole number"),
  (served(connections=0, model="m"), "connections= takes a whole number"),
  (called("ensemble", []), "teachers= takes a list of .*got a list of 0"),
  (called("ensemble", TEACHER), "teachers= takes a list of .*got Teacher"),
  (called("ensemble", [STUDENT]), f"teachers= {A_TEACHER} Network"),
  (called("ensemble", [TEACHER] * 2, pool="mean"), "pool 'mean': choose"),
  (called("ensemble", [TEACHER, SERVED]), "one that is served teaches alone"),
  (called("ensemble", [TEACHER] * 2, weights=[1]), "1 weight for 2 teachers"),
  (called("ensemble", [TEACHER] * 2, weights="ab"), "ensemble: "),
  (called("pmap", []), "devices= takes a list of devices.*got a list of 0"),
  (called("pmap", 2), "devices= takes a list of devices.*got 2"),
  (called("pmap", ["cpu"]), "devices= takes a list of devices"),
  (called("sharded", 3, []), "mesh= takes a mesh from jax.make_mesh; got 3"),
  (called("sharded", mesh(), "kernel"), "rules= takes a list of"),
  (called("sharded", mesh(), {"kernel": P()}), "rules= takes a list of"),
  (called("sharded", mesh(), [(3, P())]), r"a rule is a pair.*got \(3, P\(\)\)"),
  (called("sharded", mesh(), [], batch="data"), "batch= takes a PartitionSpec"),
  (called("Checkpoints", 3), "folder= takes a path.*got 3"),
  (called("Checkpoints", "nowhere", keep="a"), "keep= takes a whole number"),
  (called("Checkpoints", "nowhere", keep=None), "keep= takes .*got None"),
  (called("Checkpoints", "nowhere", keep=1.5), "keep= takes .*got 1.5"),
  (called("Checkpoints", "nowhere", every_steps="a"), "every_steps= takes"),
  (called("Checkpoints", "nowhere", every_minutes="a"), "every_minutes= takes"),
  (called("evaluate", MODULE, VARIABLES, BATCH, task=TASK), "network= takes"),
  (called("evaluate", STUDENT, None, BATCH, task=TASK), "variables= takes"),
  (called("describe", MODULE, VARIABLES, IMAGES), "network= takes"),
  (called("describe", STUDENT, None, IMAGES), "variables= takes"),
  (called("describe", STUDENT, VARIABLES, "x"), "inputs= takes an array"),
  (called("from_linen", nn.Dense), "a class; give what it makes: Dense"),
  (called("from_linen", MODULE, call=3), "call= takes a function; got 3"),
  (called("from_linen", MODULE, classifier=3), "classifier= takes a text"),
  (called("from_nnx", MODULE), "got Dense, which from_linen"),
  (called("from_nnx", nnx.Linear), "a class; give what it makes: Linear"),
  (called("from_apply", 3), "apply= takes a function; got 3"),
  (called("from_apply", MODULE), "apply= takes a function; got Dense, which"),
  (called("from_apply", len, init=3), "init= takes a function; got 3"),
  (cached(folder=3), "folder= takes a path"),
  (cached(teacher=None), f"teacher= {A_TEACHER} None"),
  (cached(task="x"), f"task= {A_TASK} 'x'"),
  (cached(features="stem"), "features= takes a list of taps; got 'stem'"),
  (cached(top_k="2"), "top_k= takes a whole number >= 1; got '2'"),
  (cached(scores=3), "scores= takes JSON values by name, or None; got 3"),
  (called("TeacherCache", 3), "folder= takes a path"),
  (called("export", MODULE, VARIABLES, IMAGES, "x"), "network= takes"),
  (called("export", STUDENT, None, IMAGES, "x"), "variables= takes"),
  (called("export", STUDENT, VARIABLES, IMAGES, 3), "folder= takes a path"),
  (
    called("export", STUDENT, VARIABLES, IMAGES, "x", format=3),
    "format= takes a text; got 3",
  ),
  (
    called("export", STUDENT, VARIABLES, IMAGES, "x", task="values"),
    f"task= {A_TASK} 'values'",
  ),
  (called("pretrained.load", 3), "where= takes a path.*got 3"),
  (called("pretrained.load", ""), "where= takes a path"),
  (called("pretrained.load", "x", put=3), "put= takes a function; got 3"),
  (called("pretrained.save", 3, STUDENT, VARIABLES), "folder= takes a path"),
  (called("pretrained.save", "x", MODULE, VARIABLES), f"network= {A_NETWORK}"),
  (called("pretrained.save", "x", STUDENT, None), "variables= takes arrays"),
  (
    called("pretrained.cut", STUDENT, "layers(2)"),
    "pretrained= takes what kdjax.pretrained.load returns; got Network",
  ),
  (continued(network=MODULE), "network= takes"),
  (continued(variables=None), "variables= takes"),
  (continued(prompts="text"), "prompts= takes a list of prompts.*got 'text'"),
  (continued(prompts=[]), "prompts= takes a list of prompts.*a list of 0"),
  (continued(prompts=["text"]), "prompt 0 is a text; tokenizer.encode"),
  (continued(prompts=[[1], []]), "prompt 1 is empty"),
  (continued(prompts=[[0.5]]), r"prompts\[0\]= takes a vector of token ids"),
  (continued(max_new_tokens=0), "max_new_tokens= takes a whole number >= 1"),
  (continued(samples=0), "samples= takes a whole number >= 1; got 0"),
  (continued(batch_size="8"), "batch_size= takes a whole number"),
  (continued(sampling="top_p"), "sampling top_p: missing"),
  (continued(sampling="top_p(0.9)"), "draws tokens: give a key="),
  (continued(sampling="top_p(0.9)", key=0), f"key= {A_KEY} 0"),
  (continued(ids=[1, 2]), "ids= takes 1 whole number >= 0"),
  (continued(devices=[]), "devices= takes a list of devices"),
  (continued(), r"answers \(1, 4\)|cannot read 4 tokens"),
  (called("jsonl", 3), "path= takes a path"),
  (called("tensorboard", 3), "folder= takes a path"),
  (reported(folder=3), "folder= takes a path"),
  (reported(student=None), "student= takes what distill returns.*got None"),
  (reported(student={"accuracy": 1.0}), "student= takes what distill returns"),
  (reported(baseline="b"), "baseline= takes what distill returns"),
  (reported(task="classification"), f"task= {A_TASK}"),
  (reported(teacher=0.9), "teacher= takes a mapping by name, or None; got 0.9"),
  (reported(teacher={"rmse": 1.0}), "teacher has no 'accuracy'"),
  (called("evaluate.recall_at_k", [1, 2], IMAGES), r"queries: .*\(2,\)"),
  (called("evaluate.recall_at_k", IMAGES, "index"), r"index: embeddings are"),
  (called("evaluate.recall_at_k", IMAGES, IMAGES, k=0), "k= takes a whole"),
  (called("evaluate.recall_at_k", IMAGES, IMAGES[:, :2]), "an index of 2"),
  (called("evaluate.spearman", IMAGES, IMAGES[:4]), "6 embeddings of the"),
  (called("evaluate.spearman", IMAGES, "teacher"), "teacher: embeddings are"),
  (called("evaluate.spearman", IMAGES, IMAGES, pairs=[0.5]), "pairs are"),
  (called("tasks.embedding", "4"), "size= takes a whole number >= 1"),
  (called("tasks.classification", "4"), "classes= takes a whole number >= 2"),
  (called("tasks.classification", 4, inputs=["a"]), "inputs= takes a text"),
  (called("tasks.text_classification", 0), "classes= takes a whole number"),
  (called("tasks.multilabel", "3"), "labels= takes a whole number >= 1"),
  (
    called("tasks.multilabel", 3, positive_weight=(1, 2)),
    r"positive_weight= takes a number > 0, or 3 of them.*got",
  ),
  (called("tasks.segmentation", 3, ignore=1), "ignore= takes .*got 1"),
  (called("tasks.embedding", 8, label=3), "label= takes a text; got 3"),
  (called("tasks.regression", 1, huber="a"), "huber= takes a number > 0"),
]  # fmt: skip


@pytest.mark.parametrize(
  ("call", "message"),
  WRONG,
  ids=[f"{call[0]}: {message[:40]}" for call, message in WRONG],
)
def test_a_wrong_call_is_told_in_one_line(call, message, monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  name, given, options = call
  function = kdjax
  for part in name.split("."):
    function = getattr(function, part)
  with pytest.raises(UserError, match=message) as error:
    function(*given, **options)
  assert "\n" not in str(error.value)
  assert not [*tmp_path.iterdir()]


def test_every_public_function_is_called_wrongly():
  # It takes nothing.
  assert {call[0].split(".")[0] for call, _ in WRONG} | {"jit"} >= set(
    kdjax.__all__
  )


STEP = kdjax.make_step(GOAL, SGD)


@pytest.mark.parametrize(
  ("call", "message"),
  [
    (lambda: STEP.init(0, None, TEACHER, BATCH), f"key= {A_KEY} 0"),
    (lambda: STEP.init(KEY, None, STUDENT, BATCH), f"teacher= {A_TEACHER}"),
    (
      lambda: STEP.init(KEY, VARIABLES, BATCH, TEACHER),
      f"teacher= {A_TEACHER}",
    ),
    (lambda: STEP.init(KEY, None, TEACHER, [IMAGES]), "a batch is a mapping"),
    (lambda: STEP.step(VARIABLES, TEACHER, BATCH), "state= takes the State"),
    (lambda: STEP.step(None, TEACHER, BATCH), "state= takes the State.*None"),
    (lambda: STEP.variables(3), "state= takes the State"),
    (lambda: GOAL.init("a", None, TEACHER, BATCH), f"key= {A_KEY} 'a'"),
    (lambda: GOAL.init(KEY, None, STUDENT, BATCH), f"teacher= {A_TEACHER}"),
    (
      lambda: GOAL.loss({}, ({}, ()), STUDENT, BATCH, step=0, key=KEY),
      f"teacher= {A_TEACHER}",
    ),
    (
      lambda: GOAL.init(KEY, None, TEACHER, {"image": [[1.0] * 4]}),
      "entry 'image' is a list; entries are arrays",
    ),
  ],
)
def test_so_are_functions_that_are_made(call, message):
  with pytest.raises(UserError, match=message) as error:
    call()
  assert "\n" not in str(error.value)


@pytest.mark.parametrize("number", ["x", 2.5, -1, True, None])
def test_a_checkpoint_is_of_a_step(number, tmp_path):
  checkpoints = kdjax.Checkpoints(tmp_path)
  with pytest.raises(UserError, match="step= takes a whole number >= 0; got"):
    checkpoints.save(number, {"w": jnp.ones(2)})


@pytest.mark.parametrize(
  "key", [jax.random.PRNGKey(0), jax.random.key(0, impl="rbg")]
)
def test_keys_of_any_style_are_taken(key):
  GOAL.init(key, VARIABLES, TEACHER, BATCH)


def test_whole_numbers_of_numpy_are_taken():
  assert kdjax.tasks.classification(np.int64(4)) is TASK
