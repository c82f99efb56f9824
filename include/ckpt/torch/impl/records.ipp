// ckpt/torch/impl/records.ipp: the tables of records.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/torch/records.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF constinit const global_entry framework_globals::entries[60]{
    {"torchvision.**", "*"},
    {"torchaudio.**", "*"},
    {"torchtext.**", "*"},
    {"torchao.**", "*"},
    {"torchmetrics.**", "*"},
    {"tensordict.**", "*"},
    {"lightning.**", "*"},
    {"lightning_fabric.**", "*"},
    {"lightning_utilities.**", "*"},
    {"transformers.**", "*"},
    {"accelerate.**", "*"},
    {"peft.**", "*"},
    {"trl.**", "*"},
    {"diffusers.**", "*"},
    {"datasets.**", "*"},
    {"tokenizers.**", "*"},
    {"sentence_transformers.**", "*"},
    {"timm.**", "*"},
    {"open_clip.**", "*"},
    {"deepspeed.**", "*"},
    {"megatron.**", "*"},
    {"nemo.**", "*"},
    {"fairseq.**", "*"},
    {"fairseq2.**", "*"},
    {"omegaconf.**", "*"},
    {"hydra.**", "*"},
    {"mmengine.**", "*"},
    {"mmcv.**", "*"},
    {"mmdet.**", "*"},
    {"mmseg.**", "*"},
    {"detectron2.**", "*"},
    {"fvcore.**", "*"},
    {"iopath.**", "*"},
    {"yacs.**", "*"},
    {"ultralytics.**", "*"},
    {"models.yolo", "*"},
    {"models.common", "*"},
    {"models.experimental", "*"},
    {"utils.**", "*"},
    {"basicsr.**", "*"},
    {"TTS.**", "*"},
    {"speechbrain.**", "*"},
    {"pyannote.**", "*"},
    {"easydict", "*"},
    {"addict.**", "*"},
    {"attr.**", "*"},
    {"attrs.**", "*"},
    {"pydantic.**", "*"},
    {"ml_collections.**", "*"},
    {"axolotl.**", "*"},
    {"bitsandbytes.**", "*"},
    {"apex.**", "*"},
    {"xformers.**", "*"},
    {"composer.**", "*"},
    {"e3nn.**", "*"},
    {"torch_geometric.**", "*"},
    {"sklearn.**", "*"},
    {"scipy.**", "*"},
    {"pandas.**", "*"},
    {"PIL.**", "*"},
};

CKPT_DETAIL_DEF constinit const global_entry script_globals::entries[1]{{"__torch__.**", "*"}};

} // namespace ckpt::inline CKPT_DETAIL_ABI
