// state/, second part: key rules and what they make of a state_dict.
#include <ckpt/state/impl/assemble.ipp>
#include <ckpt/state/impl/gather.ipp>
#include <ckpt/state/impl/key_map.ipp>
#include <ckpt/state/impl/lora.ipp>
#include <ckpt/state/impl/overlay.ipp>
#include <ckpt/state/impl/remap.ipp>
#include <ckpt/state/impl/remap_planner.ipp>
#include <ckpt/state/impl/shard.ipp>
