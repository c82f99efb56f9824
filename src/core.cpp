#include <ckpt/core/impl/error.ipp>
#include <ckpt/core/impl/json.ipp>
#include <ckpt/core/impl/json_text.ipp>
#include <ckpt/core/impl/key_path.ipp>
#include <ckpt/core/impl/pattern.ipp>
#include <ckpt/core/impl/result.ipp>
#include <ckpt/core/impl/sha256.ipp>
#include <ckpt/core/impl/utf8.ipp>
