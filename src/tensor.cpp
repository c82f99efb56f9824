// tensor/: types, geometry, conversions and copies of tensors.
#include <ckpt/tensor/impl/access.ipp>
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
