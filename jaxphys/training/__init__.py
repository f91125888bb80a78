"""Training: state, step, optimizer, loop, checkpoints and data parallelism. Knows no physics."""

from jaxphys.training.checkpoint import CheckpointError as CheckpointError
from jaxphys.training.checkpoint import Checkpoints as Checkpoints
from jaxphys.training.checkpoint import load_params as load_params
from jaxphys.training.cpu import keep_freed_memory as keep_freed_memory
from jaxphys.training.cpu import limit_lapack as limit_lapack
from jaxphys.training.cpu import prepare_cpu as prepare_cpu
from jaxphys.training.cpu import release_freed_memory as release_freed_memory
from jaxphys.training.log import MetricsLog as MetricsLog
from jaxphys.training.loop import train as train
from jaxphys.training.optimizer import make_optimizer as make_optimizer
from jaxphys.training.parallel import data_mesh as data_mesh
from jaxphys.training.parallel import replicate as replicate
from jaxphys.training.parallel import shard_batch as shard_batch
from jaxphys.training.state import TrainState as TrainState
from jaxphys.training.state import create_state as create_state
from jaxphys.training.step import make_train_step as make_train_step
