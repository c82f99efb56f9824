#!/usr/bin/env python3
"""Writes include/ckpt/torch/impl/record_names.ipp: names that checkpoints hold beside weights, one by one.

Needs torch and numpy; the table in the tree is of torch 2.13. The standard library's names, and functions, are listed
here by hand, each because real files have it (tests/data, or what __reduce__ of a listed class writes). Classes of
torch and numpy are found in the modules that are listed here. None of them runs, imports, opens, connects or deletes
anything when it is made, restored or filled; tests/data/stdlib_actions.txt is compared in tests/torch/policies.cpp.
"""
import enum, importlib, os, pkgutil, re, typing, warnings

import numpy, torch

warnings.simplefilter('ignore')
HERE = os.path.dirname(os.path.abspath(__file__))
INCLUDE = os.path.join(os.path.dirname(os.path.dirname(HERE)), 'include', 'ckpt', 'torch')

# module -> names
LISTED = {
    'argparse': 'Namespace',
    'types': 'SimpleNamespace MappingProxyType NoneType EllipsisType NotImplementedType GenericAlias',
    'pathlib': 'Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath',
    'datetime': 'date datetime time timedelta timezone', 'zoneinfo': 'ZoneInfo ZoneInfo._unpickle',
    'decimal': 'Decimal DecimalTuple', 'fractions': 'Fraction', 'uuid': 'UUID',
    'collections': 'deque ChainMap UserDict UserList UserString', 'functools': 'partial',
    'copyreg': '_reconstructor __newobj__ __newobj_ex__', 're': '_compile', 'random': 'Random',
    'logging': 'Logger RootLogger getLogger Formatter PercentStyle LogRecord', 'string': 'Template',
    'ipaddress': 'IPv4Address IPv4Interface IPv4Network IPv6Address IPv6Interface IPv6Network',
    'array': 'array _array_reconstructor',
    'itertools': 'count cycle repeat chain islice product permutations combinations',
    'dataclasses': '_MISSING_TYPE _HAS_DEFAULT_FACTORY_CLASS', 'io': 'BytesIO StringIO', '_io': 'BytesIO StringIO',
    'operator': 'add sub mul truediv floordiv mod pow matmul neg pos abs invert and_ or_ xor lshift rshift eq ne lt '
                'le gt ge not_ getitem',
    '_operator': 'add sub mul truediv floordiv mod pow matmul neg pos abs invert and_ or_ xor lshift rshift eq ne lt '
                 'le gt ge not_ getitem',
    'builtins': 'object type int float bool str list dict tuple range slice Ellipsis NotImplemented len min max sum '
                'abs round print',
    'numpy': 'dtype ndarray generic matrix recarray record',
    'numpy.ma': 'MaskedArray', 'numpy.ma.core': 'MaskedArray _mareconstruct MaskedConstant',
    'numpy.rec': 'recarray record', 'numpy._core.records': 'recarray record', 'numpy.matrixlib.defmatrix': 'matrix',
    'numpy._core.multiarray': 'ndarray dtype', 'numpy.polynomial.polynomial': 'Polynomial',
    'numpy.random': 'RandomState Generator SeedSequence', 'numpy.random.mtrand': 'RandomState',
    'numpy.random._generator': 'Generator',
    'numpy.random._pickle': '__randomstate_ctor __bit_generator_ctor __generator_ctor',
    'numpy.random.bit_generator': 'SeedSequence __pyx_unpickle_SeedSequence',
    'numpy.random._mt19937': 'MT19937', 'numpy.random._pcg64': 'PCG64 PCG64DXSM', 'numpy.random._philox': 'Philox',
    'numpy.random._sfc64': 'SFC64',
    'torch': 'Tensor device Generator ScriptObject memory_format layout finfo iinfo channels_last channels_last_3d '
             'contiguous_format preserve_format per_tensor_affine per_channel_affine per_tensor_symmetric '
             'per_channel_symmetric per_channel_affine_float_qparams',
    'torch._C': 'Generator ScriptObject _VariableFunctionsClass', 'torch.torch_version': 'TorchVersion',
    'torch._tensor': 'Tensor', 'torch.storage': 'TypedStorage UntypedStorage', 'torch.serialization': '_get_layout',
    'torch.autograd.variable': 'Variable', 'torch.fx.immutable_collections': 'immutable_dict immutable_list',
    'torch.nn.modules.module': '_WrappedHook', 'torch.optim.optimizer': '_RequiredParameter',
    'torch.cuda.amp.grad_scaler': 'GradScaler OptState _refresh_per_optimizer_state',
    'torch.amp.grad_scaler': 'GradScaler OptState _refresh_per_optimizer_state',
    'torch.jit': 'ScriptModule TopLevelTracedModule TracedModule', 'torch.jit._script': 'unpackage_script_module',
    'torch._dynamo.decorators': '_DimRange', 'torch.nested._internal.nested_tensor': 'NestedTensor',
    'torch.masked.maskedtensor.core': 'MaskedTensor',
    'torch.distributed._mesh_layout': '_FlatLayout _MeshLayout', 'torch.distributed.remote_device': '_remote_device',
    'torch.distributed._shard.sharded_tensor.api': 'ShardedTensor.ProcessGroupState',
    'torch.distributed.checkpoint.filesystem': '_StorageInfo',
    'torch.distributed.tensor.placement_types': '_StridedShard _NormPartial _MaskPartial',
    'torch.distributed.tensor': 'DTensor', 'torch.distributed.device_mesh': 'DeviceMesh',
    # Frameworks: what their patterns, which admit names of public classes only, leave out
    'mmengine.logging.history_buffer': 'HistoryBuffer.min HistoryBuffer.max HistoryBuffer.mean HistoryBuffer.current',
    'deepspeed.utils.tensor_fragment': 'fragment_address',
    'ultralytics.utils.loss': 'v8DetectionLoss v8SegmentationLoss v8PoseLoss v8ClassificationLoss v8OBBLoss',
    'ultralytics.nn.modules.head': 'v10Detect',
    'scipy.sparse._csr': 'csr_matrix csr_array', 'scipy.sparse._csc': 'csc_matrix csc_array',
    'scipy.sparse._coo': 'coo_matrix coo_array', 'scipy.sparse._bsr': 'bsr_matrix bsr_array',
    'scipy.sparse.csr': 'csr_matrix', 'scipy.sparse.csc': 'csc_matrix', 'scipy.sparse.coo': 'coo_matrix',
    'pandas.core.indexes.base': '_new_Index', 'pandas.core.indexes.datetimes': '_new_DatetimeIndex',
    'pandas._libs.internals': '_unpickle_block', 'pandas._libs.arrays': '__pyx_unpickle_NDArrayBacked',
    'pandas._libs.tslibs.timestamps': '_unpickle_timestamp', 'pandas._libs.tslibs.timedeltas': '_timedelta_unpickle',
    'pandas._libs.tslibs.offsets': '__pyx_unpickle_BaseOffset',
}
# Enum classes: protocol 2 writes getattr(class, "MEMBER") for their members in CPython 3.11.0 to 3.11.3.
ENUMS = {
    'uuid': 'SafeUUID', 're': 'RegexFlag', 'enum': 'FlagBoundary', 'http': 'HTTPStatus HTTPMethod',
    'signal': 'Signals Handlers Sigmasks', 'inspect': '',
    'transformers.trainer_utils':
        'EvaluationStrategy HubStrategy IntervalStrategy SaveStrategy SchedulerType FSDPOption ShardedDDPOption',
    'transformers.training_args': 'OptimizerNames',
    'transformers.utils.generic': 'ExplicitEnum PaddingStrategy TensorType',
    'transformers.tokenization_utils_base': 'TruncationStrategy',
    'accelerate.utils.dataclasses': 'DistributedType PrecisionType DynamoBackend ComputeEnvironment LoggerType RNGType '
                                    'SageMakerDistributedType',
    'peft.utils.peft_types': 'PeftType TaskType', 'deepspeed.runtime.zero.config': 'ZeroStageEnum',
    'deepspeed.runtime.zero.offload_config': 'OffloadDeviceEnum',
    'lightning.pytorch.trainer.states': 'TrainerFn TrainerStatus RunningStage',
    'megatron.core.enums': 'ModelType', 'megatron.core.transformer.enums': 'AttnMaskType AttnType LayerType',
    'megatron.model.enums': 'AttnMaskType AttnType LayerType', 'megatron.enums': 'ModelType',
    'torchao.quantization.quantize_.common.kernel_preference': 'KernelPreference',
    'sentence_transformers.similarity_functions': 'SimilarityFunction', 'timm.layers.format': 'Format',
    'torchvision.transforms.functional': 'InterpolationMode',
}
# Modules of torch whose public classes are listed; ** takes those below, too.
TORCH_CLASSES = '''
torch.nn.modules.** torch.nn.parameter torch.nn.parallel.data_parallel torch.nn.parallel.distributed
torch.nn.utils.parametrize torch.nn.utils.parametrizations torch.nn.utils.weight_norm torch.nn.utils.spectral_norm
torch.nn.utils.prune torch.nn.utils.rnn torch.ao.nn.** torch.ao.quantization.observer
torch.ao.quantization.fake_quantize torch.ao.quantization.qconfig torch.ao.quantization.qconfig_mapping
torch.ao.quantization.stubs torch.ao.quantization.quant_type torch.ao.quantization._learnable_fake_quantize
torch.ao.quantization.backend_config.** torch.ao.pruning.sparsifier.** torch.ao.pruning.scheduler.**
torch.optim.** torch.distributions.** torch.utils.data.dataset torch.utils.data.sampler torch.utils.data.dataloader
torch.utils.data.distributed torch.distributed._shard.metadata torch.distributed._shard.sharded_tensor.api
torch.distributed._shard.sharded_tensor.metadata torch.distributed._shard.sharded_tensor.shard
torch.distributed._shard.sharding_spec.** torch.distributed.checkpoint.metadata torch.distributed.device_mesh
torch.distributed.tensor._dtensor_spec torch.distributed.tensor.placement_types torch.distributed.fsdp.api
torch.distributed.fsdp._fully_shard._fsdp_api torch.distributed.tensor.parallel.style torch.jit._script
torch.distributed.algorithms.ddp_comm_hooks.powerSGD_hook torch.distributed.algorithms.model_averaging.averagers
torch.export.graph_signature
'''.split()
# Where older versions of torch had the classes of torch.ao.
OLD_MODULES = '''torch.nn.quantized.** torch.nn.intrinsic.** torch.nn.qat.** torch.nn.quantizable.**
torch.quantization.observer torch.quantization.fake_quantize torch.quantization.qconfig torch.quantization.stubs
torch.quantization.quant_type'''.split()
# Functions that modules keep as activations, or configurations as values: they compute, and nothing else.
COMPUTING = '''abs acos add asin atan atan2 bmm cat ceil celu clamp conv1d conv2d conv3d cos cosh div dropout einsum
elu erf exp expm1 floor gelu group_norm layer_norm log log10 log1p log2 logsumexp matmul max maximum mean min minimum
mm mul multiply neg norm pow prelu relu relu_ rms_norm round rrelu rsqrt selu sigmoid sign silu sin sinh softmax
log_softmax softplus sqrt square stack sub sum tan tanh threshold zeros ones empty full zeros_like ones_like hardshrink'''.split()


def modules(patterns):
    for pattern in patterns:
        name = pattern.removesuffix('.**')
        module = importlib.import_module(name)
        yield name, module
        if pattern.endswith('.**'):
            for info in pkgutil.walk_packages(getattr(module, '__path__', []), name + '.', onerror=lambda _: None):
                try:
                    yield info.name, importlib.import_module(info.name)
                except Exception:
                    pass


def is_class_name(name):
    return re.fullmatch('[A-Z][A-Za-z0-9]*', name) is not None


def is_function(module, name):
    """Whether a name is something to call that is no class: NEWOBJ, which asks for __new__, fails on it in Python."""
    try:
        thing = importlib.import_module(module)
        for part in name.split('.'):
            thing = getattr(thing, part)
    except Exception:  # of a package that is not there
        return re.match('_unpickle|__pyx_unpickle|_new_', name) is not None
    return module != 'typing' and callable(thing) and not isinstance(thing, type)


def found():
    """(module, name) -> whether it is an enum."""
    out = {}
    for table, kind in ((LISTED, False), (ENUMS, True)):
        for module, names in table.items():
            for name in names.split():
                out[module, name] = kind
    for name in dir(__builtins__):
        thing = getattr(__builtins__, name)
        if isinstance(thing, type) and issubclass(thing, BaseException):
            out['builtins', name] = False
    for name in typing.__all__:
        thing = getattr(typing, name)
        if isinstance(thing, (typing._SpecialForm, typing._BaseGenericAlias)) or name == 'Any':
            out['typing', name] = False
    for name, thing in vars(numpy).items():
        if isinstance(thing, numpy.ufunc) or (isinstance(thing, type) and issubclass(thing, numpy.generic)):
            out['numpy', name] = False
    for old in ('bool8 float_ complex_ int0 uint0 unicode_ string_ object0 bytes0 str0 void0 long ulong float96 '
                'complex192').split():
        out['numpy', old] = False
    for name in vars(numpy.dtypes):
        if name.endswith('DType'):
            out['numpy.dtypes', name] = False
    for name in COMPUTING:
        if hasattr(torch, name):
            out['torch', name] = out['torch._C', '_VariableFunctionsClass.' + name] = False
        if hasattr(torch._C._nn, name):
            out['torch._C._nn', name] = False
    for name, thing in vars(torch.nn.functional).items():
        if callable(thing) and not name.startswith('_') and (getattr(thing, '__module__', '') == 'torch.nn.functional'):
            out['torch.nn.functional', name] = False
        if callable(thing) and getattr(thing, '__module__', '') == 'torch._C._nn':
            out['torch._C._nn', name] = False
    for name, module in modules(TORCH_CLASSES):
        for attribute, thing in vars(module).items():
            if isinstance(thing, type) and thing.__module__ == name and (
                    is_class_name(attribute) or issubclass(thing, enum.Enum)):
                out[name, attribute] = issubclass(thing, enum.Enum)
    for name, module in modules(OLD_MODULES):
        for attribute, thing in vars(module).items():
            if isinstance(thing, type) and thing.__module__ == name.replace('torch.', 'torch.ao.', 1) and (
                    is_class_name(attribute)):
                out[name, attribute] = issubclass(thing, enum.Enum)
    return out


def main():
    out = found()
    out['builtins', 'getattr'] = False
    exact = open(os.path.join(INCLUDE, 'impl', 'globals.ipp')).read()
    for module, name in re.findall(r'\{"([^"]+)", "([^"]+)"', exact):  # what has a builder
        out.pop((module, name), None)
    rows = []
    for (module, name), is_enum in sorted(out.items()):
        kind = 'attribute' if (module, name) == ('builtins', 'getattr') else 'enumeration' if is_enum else (
            'function' if is_function(module, name) else '')
        rows.append(f'    {{"{module}", "{name}"' + (f', nullptr, global_kind::{kind}' if kind else '') + '},\n')
    with open(os.path.join(INCLUDE, 'impl', 'record_names.ipp'), 'w') as to:
        to.write(f'''\
// ckpt/torch/impl/record_names.ipp: the table of record_names.hpp. tests/frameworks/record_names.py writes it.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/torch/record_names.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {{

// clang-format off
CKPT_DETAIL_DEF constinit const global_entry record_names::entries[{len(rows)}]{{
''' + ''.join(rows) + '''};
// clang-format on

} // namespace ckpt::inline CKPT_DETAIL_ABI
''')
    header = os.path.join(INCLUDE, 'record_names.hpp')
    text = open(header).read()
    with open(header, 'w') as to:
        to.write(re.sub(r'entries\[\d+\]', f'entries[{len(rows)}]', text))
    print(len(rows), 'names')


if __name__ == '__main__':
    main()
