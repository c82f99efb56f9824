// checkpoint.hpp, config.hpp, dlpack.hpp, prefetch.hpp, python.hpp, threads.hpp: a file as one object, and what it
// gives to others.
#include <ckpt/impl/checkpoint.ipp>
#include <ckpt/impl/config.ipp>
#include <ckpt/impl/dlpack.ipp>
#include <ckpt/impl/open_source.ipp>
#include <ckpt/impl/prefetch.ipp>
#include <ckpt/impl/python.ipp>
#include <ckpt/impl/threads.ipp>
