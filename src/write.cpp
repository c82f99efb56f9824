// write/: files that are written.
#include <ckpt/io/impl/output.ipp>
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
