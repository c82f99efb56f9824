// state/, first part: what a state_dict is, how one is found, compared and digested.
#include <ckpt/state/impl/candidate_finder.ipp>
#include <ckpt/state/impl/diff.ipp>
#include <ckpt/state/impl/digest.ipp>
#include <ckpt/state/impl/digests.ipp>
#include <ckpt/state/impl/discovery.ipp>
#include <ckpt/state/impl/nearest.ipp>
#include <ckpt/state/impl/object_path.ipp>
#include <ckpt/state/impl/object_walk.ipp>
#include <ckpt/state/impl/owned_storages.ipp>
#include <ckpt/state/impl/state_dict.ipp>
#include <ckpt/state/impl/state_dict_data.ipp>
#include <ckpt/state/impl/walk.ipp>
