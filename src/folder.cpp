// folder/: several files as one checkpoint.
#include <ckpt/folder/impl/contents.ipp>
#include <ckpt/folder/impl/dcp.ipp>
#include <ckpt/folder/impl/dcp_items.ipp>
#include <ckpt/folder/impl/dcp_tree.ipp>
#include <ckpt/folder/impl/distributed.ipp>
#include <ckpt/folder/impl/index.ipp>
#include <ckpt/folder/impl/joined.ipp>
#include <ckpt/folder/impl/open.ipp>
#include <ckpt/folder/impl/ranks.ipp>
#include <ckpt/folder/impl/report.ipp>
#include <ckpt/folder/impl/shard_boxes.ipp>
#include <ckpt/folder/impl/shard_set.ipp>
#include <ckpt/folder/impl/tiling.ipp>
#include <ckpt/folder/impl/zero.ipp>
