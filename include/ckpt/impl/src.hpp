// ckpt/impl/src.hpp: all definitions, for a program that has no build system for them.
//
// SPDX-License-Identifier: MIT
// In:      CKPT_COMPILED, defined for every source of the program, by -DCKPT_COMPILED for instance.
// Out:     the definitions of every header of ckpt; one source of the program includes this file, and no other does.
// Refuses: header-only mode, where headers bring their definitions themselves.
//
// The same definitions as those of src/*.cpp, which build systems compile in parallel.
#pragma once

#if !defined(CKPT_COMPILED)
#error "define CKPT_COMPILED for all sources (-DCKPT_COMPILED): without it the headers of ckpt hold their definitions"
#endif

#include <ckpt/core/impl/crew.ipp>
#include <ckpt/core/impl/edit_distance.ipp>
#include <ckpt/core/impl/error.ipp>
#include <ckpt/core/impl/index_table.ipp>
#include <ckpt/core/impl/json.ipp>
#include <ckpt/core/impl/json_text.ipp>
#include <ckpt/core/impl/json_writer.ipp>
#include <ckpt/core/impl/key_path.ipp>
#include <ckpt/core/impl/number.ipp>
#include <ckpt/core/impl/pattern.ipp>
#include <ckpt/core/impl/plain_list.ipp>
#include <ckpt/core/impl/progress_meter.ipp>
#include <ckpt/core/impl/result.ipp>
#include <ckpt/core/impl/scratch.ipp>
#include <ckpt/core/impl/sha256.ipp>
#include <ckpt/core/impl/shared.ipp>
#include <ckpt/core/impl/short_list.ipp>
#include <ckpt/core/impl/sorting.ipp>
#include <ckpt/core/impl/utf8.ipp>

#include <ckpt/io/impl/file.ipp>
#include <ckpt/io/impl/folder.ipp>
#include <ckpt/io/impl/output.ipp>
#include <ckpt/io/impl/pages.ipp>
#include <ckpt/io/impl/path.ipp>
#include <ckpt/io/impl/source.ipp>

#include <ckpt/archive/impl/inflate.ipp>
#include <ckpt/archive/impl/names.ipp>
#include <ckpt/archive/impl/safetensors.ipp>
#include <ckpt/archive/impl/tar.ipp>
#include <ckpt/archive/impl/zip_directory.ipp>
#include <ckpt/archive/impl/zip_end.ipp>
#include <ckpt/archive/impl/zip_format.ipp>
#include <ckpt/archive/impl/zip_locate.ipp>
#include <ckpt/archive/impl/zip_verify.ipp>

#include <ckpt/tensor/impl/access.ipp>
#include <ckpt/tensor/impl/casts.ipp>
#include <ckpt/tensor/impl/convert.ipp>
#include <ckpt/tensor/impl/copy.ipp>
#include <ckpt/tensor/impl/geometry.ipp>
#include <ckpt/tensor/impl/index_walk.ipp>
#include <ckpt/tensor/impl/indices.ipp>
#include <ckpt/tensor/impl/parts.ipp>
#include <ckpt/tensor/impl/pieces.ipp>
#include <ckpt/tensor/impl/quantized.ipp>
#include <ckpt/tensor/impl/shape_text.ipp>
#include <ckpt/tensor/impl/sparse.ipp>
#include <ckpt/tensor/impl/statistics.ipp>
#include <ckpt/tensor/impl/storage.ipp>
#include <ckpt/tensor/impl/stored_bytes.ipp>
#include <ckpt/tensor/impl/stored_run.ipp>
#include <ckpt/tensor/impl/strided.ipp>
#include <ckpt/tensor/impl/tensor.ipp>

#include <ckpt/pickle/impl/acting.ipp>
#include <ckpt/pickle/impl/attributes.ipp>
#include <ckpt/pickle/impl/globals.ipp>
#include <ckpt/pickle/impl/graph.ipp>
#include <ckpt/pickle/impl/json_values.ipp>
#include <ckpt/pickle/impl/keys.ipp>
#include <ckpt/pickle/impl/machine.ipp>
#include <ckpt/pickle/impl/names.ipp>
#include <ckpt/pickle/impl/text.ipp>
#include <ckpt/pickle/impl/value.ipp>

#include <ckpt/torch/impl/checkpoint_file.ipp>
#include <ckpt/torch/impl/containers.ipp>
#include <ckpt/torch/impl/globals.ipp>
#include <ckpt/torch/impl/json_file.ipp>
#include <ckpt/torch/impl/legacy_checkpoint.ipp>
#include <ckpt/torch/impl/legacy_layout.ipp>
#include <ckpt/torch/impl/nested.ipp>
#include <ckpt/torch/impl/numpy.ipp>
#include <ckpt/torch/impl/pickle_checkpoint.ipp>
#include <ckpt/torch/impl/pickle_stream.ipp>
#include <ckpt/torch/impl/pt2_layout.ipp>
#include <ckpt/torch/impl/quantized.ipp>
#include <ckpt/torch/impl/quantized_module.ipp>
#include <ckpt/torch/impl/rebuild.ipp>
#include <ckpt/torch/impl/record_names.ipp>
#include <ckpt/torch/impl/records.ipp>
#include <ckpt/torch/impl/resolve.ipp>
#include <ckpt/torch/impl/safetensors_checkpoint.ipp>
#include <ckpt/torch/impl/safetensors_types.ipp>
#include <ckpt/torch/impl/scan.ipp>
#include <ckpt/torch/impl/script_model.ipp>
#include <ckpt/torch/impl/sniff.ipp>
#include <ckpt/torch/impl/sparse.ipp>
#include <ckpt/torch/impl/storage_class.ipp>
#include <ckpt/torch/impl/storage_table.ipp>
#include <ckpt/torch/impl/stream_storages.ipp>
#include <ckpt/torch/impl/tar_checkpoint.ipp>
#include <ckpt/torch/impl/tar_member.ipp>
#include <ckpt/torch/impl/tensordict.ipp>
#include <ckpt/torch/impl/wrapper.ipp>
#include <ckpt/torch/impl/zip_checkpoint.ipp>
#include <ckpt/torch/impl/zip_layout.ipp>

#include <ckpt/state/impl/assemble.ipp>
#include <ckpt/state/impl/binding.ipp>
#include <ckpt/state/impl/candidate_finder.ipp>
#include <ckpt/state/impl/caster.ipp>
#include <ckpt/state/impl/diff.ipp>
#include <ckpt/state/impl/digest.ipp>
#include <ckpt/state/impl/digests.ipp>
#include <ckpt/state/impl/discovery.ipp>
#include <ckpt/state/impl/fill_value.ipp>
#include <ckpt/state/impl/fold.ipp>
#include <ckpt/state/impl/gather.ipp>
#include <ckpt/state/impl/gather_read.ipp>
#include <ckpt/state/impl/gather_region.ipp>
#include <ckpt/state/impl/gathered_storages.ipp>
#include <ckpt/state/impl/key_families.ipp>
#include <ckpt/state/impl/key_map.ipp>
#include <ckpt/state/impl/key_map_data.ipp>
#include <ckpt/state/impl/key_structure.ipp>
#include <ckpt/state/impl/load.ipp>
#include <ckpt/state/impl/load_judge.ipp>
#include <ckpt/state/impl/load_report.ipp>
#include <ckpt/state/impl/lora.ipp>
#include <ckpt/state/impl/lora_names.ipp>
#include <ckpt/state/impl/lora_update.ipp>
#include <ckpt/state/impl/name_matcher.ipp>
#include <ckpt/state/impl/nearest.ipp>
#include <ckpt/state/impl/object_path.ipp>
#include <ckpt/state/impl/object_walk.ipp>
#include <ckpt/state/impl/overlay.ipp>
#include <ckpt/state/impl/owned_storages.ipp>
#include <ckpt/state/impl/pull.ipp>
#include <ckpt/state/impl/push.ipp>
#include <ckpt/state/impl/read_into.ipp>
#include <ckpt/state/impl/remap.ipp>
#include <ckpt/state/impl/remap_access.ipp>
#include <ckpt/state/impl/remap_context.ipp>
#include <ckpt/state/impl/remap_formula.ipp>
#include <ckpt/state/impl/remap_inverse.ipp>
#include <ckpt/state/impl/remap_keys.ipp>
#include <ckpt/state/impl/remap_names.ipp>
#include <ckpt/state/impl/remap_planner.ipp>
#include <ckpt/state/impl/remap_record.ipp>
#include <ckpt/state/impl/remap_result.ipp>
#include <ckpt/state/impl/remap_sets.ipp>
#include <ckpt/state/impl/remap_tensors.ipp>
#include <ckpt/state/impl/rule_text.ipp>
#include <ckpt/state/impl/shard.ipp>
#include <ckpt/state/impl/state_dict.ipp>
#include <ckpt/state/impl/state_dict_data.ipp>
#include <ckpt/state/impl/suggest.ipp>
#include <ckpt/state/impl/suggest_families.ipp>
#include <ckpt/state/impl/suggest_fused.ipp>
#include <ckpt/state/impl/suggest_lines.ipp>
#include <ckpt/state/impl/suggest_prefixes.ipp>
#include <ckpt/state/impl/suggest_text.ipp>
#include <ckpt/state/impl/suggestion.ipp>
#include <ckpt/state/impl/walk.ipp>
#include <ckpt/state/impl/weight_norm.ipp>
#include <ckpt/state/impl/weight_norm_sums.ipp>
#include <ckpt/state/impl/word_table.ipp>

#include <ckpt/maps/impl/averages.ipp>
#include <ckpt/maps/impl/chinese_clip.ipp>
#include <ckpt/maps/impl/clip.ipp>
#include <ckpt/maps/impl/gpt2.ipp>
#include <ckpt/maps/impl/latent_diffusion.ipp>
#include <ckpt/maps/impl/llama.ipp>
#include <ckpt/maps/impl/torchvision.ipp>
#include <ckpt/maps/impl/whisper.ipp>
#include <ckpt/maps/impl/wrappers.ipp>

#include <ckpt/impl/checkpoint.ipp>
#include <ckpt/impl/config.ipp>
#include <ckpt/impl/dlpack.ipp>
#include <ckpt/impl/open_source.ipp>
#include <ckpt/impl/python.ipp>
#include <ckpt/impl/threads.ipp>

#include <ckpt/folder/impl/contents.ipp>
#include <ckpt/folder/impl/dcp.ipp>
#include <ckpt/folder/impl/dcp_items.ipp>
#include <ckpt/folder/impl/dcp_tree.ipp>
#include <ckpt/folder/impl/distributed.ipp>
#include <ckpt/folder/impl/examiner.ipp>
#include <ckpt/folder/impl/index.ipp>
#include <ckpt/folder/impl/joined.ipp>
#include <ckpt/folder/impl/llama.ipp>
#include <ckpt/folder/impl/open.ipp>
#include <ckpt/folder/impl/parts.ipp>
#include <ckpt/folder/impl/ranks.ipp>
#include <ckpt/folder/impl/report.ipp>
#include <ckpt/folder/impl/shard_boxes.ipp>
#include <ckpt/folder/impl/shard_set.ipp>
#include <ckpt/folder/impl/tiling.ipp>
#include <ckpt/folder/impl/zero.ipp>
#include <ckpt/folder/impl/zero_files.ipp>
#include <ckpt/folder/impl/zero_messages.ipp>
#include <ckpt/folder/impl/zero_module.ipp>
#include <ckpt/folder/impl/zero_pieces.ipp>
#include <ckpt/folder/impl/zero_stages.ipp>

#include <ckpt/gpu/impl/host_api.ipp>
#include <ckpt/gpu/impl/plan_copies.ipp>
#include <ckpt/gpu/impl/plan_data.ipp>
#include <ckpt/gpu/impl/plan_grouping.ipp>
#include <ckpt/gpu/impl/plan_inputs.ipp>
#include <ckpt/gpu/impl/plan_reads.ipp>
#include <ckpt/gpu/impl/staging.ipp>
#include <ckpt/gpu/impl/upload_plan.ipp>
#include <ckpt/impl/host.ipp>

#include <ckpt/write/impl/chosen_tensors.ipp>
#include <ckpt/write/impl/gguf.ipp>
#include <ckpt/write/impl/gguf_blocks.ipp>
#include <ckpt/write/impl/gguf_metadata.ipp>
#include <ckpt/write/impl/numpy.ipp>
#include <ckpt/write/impl/old_set.ipp>
#include <ckpt/write/impl/pickle_writer.ipp>
#include <ckpt/write/impl/safetensors.ipp>
#include <ckpt/write/impl/tensor_writer.ipp>
#include <ckpt/write/impl/torch.ipp>
#include <ckpt/write/impl/torch_object.ipp>
#include <ckpt/write/impl/torch_tensors.ipp>
#include <ckpt/write/impl/zip_writer.ipp>
