#include <ckpt/impl/checkpoint.ipp>
#include <ckpt/impl/dlpack.ipp>
#include <ckpt/impl/host.ipp>
#include <ckpt/impl/python.ipp>
