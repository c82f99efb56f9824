// write/: files that are written.
#include <ckpt/io/impl/output.ipp>
#include <ckpt/write/impl/chosen_tensors.ipp>
#include <ckpt/write/impl/numpy.ipp>
#include <ckpt/write/impl/old_set.ipp>
#include <ckpt/write/impl/safetensors.ipp>
#include <ckpt/write/impl/tensor_writer.ipp>
#include <ckpt/write/impl/zip_writer.ipp>
