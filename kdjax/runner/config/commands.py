"""What each command heeds: its flags are made from its class, and from it alone.

A command contains whole groups of settings, or that part of a group which it
heeds. A new setting is one field: every command with that part has its flag.
"""

import dataclasses

from kdjax.runner.config.cache import Cache
from kdjax.runner.config.cluster import Cluster
from kdjax.runner.config.compression import Compression
from kdjax.runner.config.computing import (
  Computing,
  Partitioned,
  Portions,
  Precision,
)
from kdjax.runner.config.controls import BaselineRate, Controls, Smoothing
from kdjax.runner.config.data import (
  Data,
  DataDir,
  DataSubset,
  ScoredData,
  Source,
  StoredData,
  StreamedData,
)
from kdjax.runner.config.distillation import (
  Distillation,
  Objective,
  Softening,
  TeacherView,
  WeightedObjective,
)
from kdjax.runner.config.evaluation import Evaluation
from kdjax.runner.config.export import Export, StoredModel
from kdjax.runner.config.generation import Continuation, Generation
from kdjax.runner.config.language import (
  Language,
  PretrainedTexts,
  Readers,
  Text,
)
from kdjax.runner.config.networks import (
  CachedTeacher,
  NumberedViews,
  OptimizedStudent,
  PlainStudent,
  PretrainedTeacher,
  Student,
  StudentModel,
  Teacher,
  TeacherSource,
  TrainedStudent,
  TrainedTeacher,
)
from kdjax.runner.config.quantify import Quantify
from kdjax.runner.config.run import (
  Accelerator,
  Checkpoints,
  Intervals,
  JobPlace,
  Latency,
  Machine,
  Place,
  Profiling,
  ResumablePlace,
  Run,
  Workdir,
)
from kdjax.runner.config.search import Rates, Search
from kdjax.runner.config.soft_td import SoftTD
from kdjax.runner.config.synthesis import Synthesis
from kdjax.runner.config.teaching import Ensemble, Pooling, Teaching


@dataclasses.dataclass(frozen=True)
class DistillConfig:
  """`distill` and `sweep`: a teacher, students and their controls."""

  data: Data = Data()
  texts: PretrainedTexts = PretrainedTexts()
  teacher: Teacher = Teacher()
  student: Student = Student()
  distillation: Distillation = Distillation()
  teaching: Teaching = Teaching()
  controls: Controls = Controls()
  compression: Compression = Compression()
  computing: Computing = Computing()
  run: Run = Run()
  cluster: Cluster = Cluster()


@dataclasses.dataclass(frozen=True)
class CompareConfig:
  """`compare`: many methods, searched alike."""

  data: Data = Data()
  texts: PretrainedTexts = PretrainedTexts()
  teacher: PretrainedTeacher = PretrainedTeacher()
  student: Student = Student()
  softening: Softening = Softening()
  teacher_view: TeacherView = TeacherView()
  ensemble: Ensemble = Ensemble()
  search: Search = Search()
  precision: Precision = Precision()
  place: ResumablePlace = ResumablePlace()
  intervals: Intervals = Intervals()
  latency: Latency = Latency()
  cluster: Cluster = Cluster()


@dataclasses.dataclass(frozen=True)
class CacheConfig:
  """`cache`: a teacher's answers to numbered views."""

  data: StreamedData = StreamedData()
  teacher: PretrainedTeacher = PretrainedTeacher()
  student: StudentModel = StudentModel()
  views: NumberedViews = NumberedViews()
  objective: Objective = Objective()
  cache: Cache = Cache()
  readers: Readers = Readers()
  precision: Precision = Precision()
  portions: Portions = Portions()
  place: ResumablePlace = ResumablePlace()
  intervals: Intervals = Intervals()
  cluster: Cluster = Cluster()


@dataclasses.dataclass(frozen=True)
class LanguageConfig:
  """`lm`: a language model teaches a smaller one."""

  language: Language = Language()
  continuation: Continuation = Continuation()
  teacher: CachedTeacher = CachedTeacher()
  pooling: Pooling = Pooling()
  student: PlainStudent = PlainStudent()
  objective: Objective = Objective()
  rates: Rates = Rates()
  compression: Compression = Compression()
  precision: Precision = Precision()
  portions: Portions = Portions()
  partitioned: Partitioned = Partitioned()
  place: ResumablePlace = ResumablePlace()
  checkpoints: Checkpoints = Checkpoints()
  cluster: Cluster = Cluster()


@dataclasses.dataclass(frozen=True)
class QuantifyConfig:
  """`quantify`: how much knowledge a student takes over."""

  data: StoredData = StoredData()
  teacher: TrainedTeacher = TrainedTeacher()
  student: OptimizedStudent = OptimizedStudent()
  quantify: Quantify = Quantify()
  place: ResumablePlace = ResumablePlace()
  cluster: Cluster = Cluster()


@dataclasses.dataclass(frozen=True)
class SoftTDConfig:
  """`soft_td`: soft labels of several sources, round after round."""

  data: StreamedData = StreamedData()
  teacher: TrainedTeacher = TrainedTeacher()
  student: Student = Student()
  softening: Softening = Softening()
  smoothing: Smoothing = Smoothing()
  rates: Rates = Rates()
  soft_td: SoftTD = SoftTD()
  precision: Precision = Precision()
  place: ResumablePlace = ResumablePlace()
  latency: Latency = Latency()
  cluster: Cluster = Cluster()


@dataclasses.dataclass(frozen=True)
class SynthesiseConfig:
  """`synthesise`: a few learned images in a data set's place."""

  data: ScoredData = ScoredData()
  student: TrainedStudent = TrainedStudent()
  synthesis: Synthesis = Synthesis()
  place: ResumablePlace = ResumablePlace()
  cluster: Cluster = Cluster()


@dataclasses.dataclass(frozen=True)
class CompressConfig:
  """`compress`: students in few bits, pruned, and both."""

  data: DataSubset = DataSubset()
  texts: PretrainedTexts = PretrainedTexts()
  teacher: PretrainedTeacher = PretrainedTeacher()
  student: OptimizedStudent = OptimizedStudent()
  distillation: WeightedObjective = WeightedObjective()
  baseline_rate: BaselineRate = BaselineRate()
  compression: Compression = Compression()
  place: ResumablePlace = ResumablePlace()
  intervals: Intervals = Intervals()
  latency: Latency = Latency()
  cluster: Cluster = Cluster()


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
  """`evaluate`: a language model on texts."""

  model: StoredModel = StoredModel()
  language: Text = Text()
  teacher: TeacherSource = TeacherSource()
  evaluation: Evaluation = Evaluation()
  place: JobPlace = JobPlace()


@dataclasses.dataclass(frozen=True)
class ExportConfig:
  """`export`: one trained network, for other programs."""

  export: Export = Export()
  data: DataDir = DataDir()
  workdir: Workdir = Workdir()
  accelerator: Accelerator = Accelerator()
  profiling: Profiling = Profiling()


@dataclasses.dataclass(frozen=True)
class GenerateConfig:
  """`generate`: prompts continued by a language model."""

  model: StoredModel = StoredModel()
  continuation: Continuation = Continuation()
  generation: Generation = Generation()
  place: JobPlace = JobPlace()


@dataclasses.dataclass(frozen=True)
class ReproduceConfig:
  """`reproduce`: a finished run's own settings once more."""

  workdir: Workdir = Workdir()
  accelerator: Accelerator = Accelerator()


@dataclasses.dataclass(frozen=True)
class ListConfig:
  """`list`: names, and the taps of a network on images."""

  data: Source = Source()
  data_dir: DataDir = DataDir()
  student: StudentModel = StudentModel()
  machine: Machine = Machine()


@dataclasses.dataclass(frozen=True)
class PlotConfig:
  """`plot`: the theory's figures."""

  place: Place = Place()
