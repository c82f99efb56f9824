#include <ckpt/io/impl/file.ipp>
#include <ckpt/io/impl/folder.ipp>
#include <ckpt/io/impl/pages.ipp>
#include <ckpt/io/impl/path.ipp>
#include <ckpt/io/impl/source.ipp>
