#include <ckpt/archive/impl/inflate.ipp>
#include <ckpt/archive/impl/names.ipp>
#include <ckpt/archive/impl/safetensors.ipp>
#include <ckpt/archive/impl/tar.ipp>
#include <ckpt/archive/impl/zip.ipp>
#include <ckpt/archive/impl/zip_verify.ipp>
