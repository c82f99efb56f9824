// ckpt/torch/records.hpp: names of the known frameworks that are kept as inert records.
//
// SPDX-License-Identifier: MIT
// In:      `record_globals` as a part of a policy.
// Out:     nothing but leave to be there: name, arguments, state and items can be read as data.
// Refuses: nothing; names that can only be an attack are refused before these patterns are looked at.
#pragma once

#include <ckpt/pickle/globals.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// What training programs save beside weights: records of the standard library, numpy's types and random state, torch's
/// own objects, and the classes of common frameworks.
struct record_globals {
    static constexpr bool shipped = true;
    static constexpr global_entry entries[]{
        // Python
        {"argparse", "*"}, {"types", "*"}, {"pathlib", "*"}, {"datetime", "*"}, {"zoneinfo", "*"}, {"decimal", "*"},
        {"fractions", "*"}, {"uuid", "*"}, {"enum", "*"}, {"collections", "*"}, {"collections.**", "*"},
        {"functools", "partial"}, {"copyreg", "*"}, {"re", "*"}, {"random", "*"}, {"signal", "*"}, {"typing", "*"},
        {"dataclasses", "*"}, {"string", "*"}, {"logging", "*"}, {"ipaddress", "*"}, {"http", "HTTPStatus"}, {"array", "*"}, {"operator", "*"},
        {"itertools", "*"}, {"_io", "BytesIO"}, {"io", "BytesIO"}, {"_io", "StringIO"}, {"io", "StringIO"}, {"_codecs", "encode"},
        {"builtins", "getattr"}, {"builtins", "object"}, {"builtins", "type"}, {"builtins", "int"}, {"builtins", "float"},
        {"builtins", "bool"}, {"builtins", "str"}, {"builtins", "list"}, {"builtins", "dict"}, {"builtins", "tuple"},
        {"builtins", "range"}, {"builtins", "slice"}, {"builtins", "Ellipsis"}, {"builtins", "NotImplemented"}, {"builtins", "print"},
        {"builtins", "len"}, {"builtins", "min"}, {"builtins", "max"}, {"builtins", "sum"}, {"builtins", "abs"}, {"builtins", "property"},
        {"builtins", "staticmethod"}, {"builtins", "super"}, {"builtins", "*Error"}, {"builtins", "*Exception"}, {"builtins", "*Warning"},
        {"builtins", "StopIteration"}, {"builtins", "KeyboardInterrupt"}, {"builtins", "SystemExit"},
        // numpy and pandas
        {"numpy", "*"}, {"numpy._core.**", "*"}, {"numpy.dtypes", "*"}, {"numpy.random.**", "*"}, {"numpy.ma.**", "*"},
        {"numpy.rec", "*"}, {"numpy.matrixlib.**", "*"},
        // PyTorch
        {"torch", "*"}, {"torch._C", "*"}, {"torch._C.**", "*"}, {"torch._tensor", "*"}, {"torch._utils", "*"}, {"torch.storage", "*"},
        {"torch.nn.**", "*"}, {"torch.optim.**", "*"}, {"torch.ao.**", "*"}, {"torch.quantization.**", "*"}, {"torch.distributed.**", "*"},
        {"torch.utils.data.**", "*"}, {"torch.fx.**", "*"}, {"torch.jit.**", "*"}, {"torch.nested.**", "*"}, {"torch.masked.**", "*"}, {"torch.amp.**", "*"},
        {"torch.cuda.**", "*"}, {"torch.sparse.**", "*"}, {"torch.autograd.**", "*"}, {"torch.distributions.**", "*"}, {"torch.torch_version", "*"}, {"torch.version", "*"},
        {"torch._dynamo.**", "*"}, {"torch.functional", "*"}, {"torch.random", "*"}, {"torch._ops", "*"}, {"torch._classes", "*"}, {"torch.serialization", "*"}, {"__torch__.**", "*"},
        // frameworks
        {"torchvision.**", "*"}, {"torchaudio.**", "*"}, {"torchtext.**", "*"}, {"torchao.**", "*"}, {"torchmetrics.**", "*"}, {"tensordict.**", "*"},
        {"lightning.**", "*"}, {"lightning_fabric.**", "*"}, {"lightning_utilities.**", "*"}, {"transformers.**", "*"}, {"accelerate.**", "*"},
        {"peft.**", "*"}, {"trl.**", "*"}, {"diffusers.**", "*"}, {"datasets.**", "*"}, {"tokenizers.**", "*"}, {"sentence_transformers.**", "*"},
        {"timm.**", "*"}, {"open_clip.**", "*"}, {"deepspeed.**", "*"}, {"megatron.**", "*"}, {"nemo.**", "*"}, {"fairseq.**", "*"}, {"fairseq2.**", "*"},
        {"omegaconf.**", "*"}, {"hydra.**", "*"}, {"mmengine.**", "*"}, {"mmcv.**", "*"}, {"mmdet.**", "*"}, {"mmseg.**", "*"}, {"detectron2.**", "*"},
        {"fvcore.**", "*"}, {"iopath.**", "*"}, {"yacs.**", "*"}, {"ultralytics.**", "*"}, {"models.yolo", "*"}, {"models.common", "*"},
        {"models.experimental", "*"}, {"utils.**", "*"}, {"basicsr.**", "*"}, {"TTS.**", "*"}, {"speechbrain.**", "*"}, {"pyannote.**", "*"},
        {"easydict", "*"}, {"addict.**", "*"}, {"attr.**", "*"}, {"attrs.**", "*"}, {"pydantic.**", "*"}, {"ml_collections.**", "*"},
        {"axolotl.**", "*"}, {"bitsandbytes.**", "*"}, {"apex.**", "*"}, {"xformers.**", "*"}, {"composer.**", "*"}, {"e3nn.**", "*"},
        {"torch_geometric.**", "*"}, {"sklearn.**", "*"}, {"scipy.**", "*"}, {"pandas.**", "*"}, {"PIL.**", "*"},
    };
};

} // namespace ckpt::inline CKPT_DETAIL_ABI
