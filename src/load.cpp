// state/, third part: filling the structs of a program, and rules that would fit them.
#include <ckpt/state/impl/binding.ipp>
#include <ckpt/state/impl/fold.ipp>
#include <ckpt/state/impl/load.ipp>
#include <ckpt/state/impl/load_report.ipp>
#include <ckpt/state/impl/pull.ipp>
#include <ckpt/state/impl/push.ipp>
#include <ckpt/state/impl/suggest.ipp>
