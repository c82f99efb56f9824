// state/, third part: filling the structs of a program, and rules that would fit them.
#include <ckpt/state/impl/binding.ipp>
#include <ckpt/state/impl/fold.ipp>
#include <ckpt/state/impl/key_families.ipp>
#include <ckpt/state/impl/load.ipp>
#include <ckpt/state/impl/load_judge.ipp>
#include <ckpt/state/impl/load_report.ipp>
#include <ckpt/state/impl/pull.ipp>
#include <ckpt/state/impl/push.ipp>
#include <ckpt/state/impl/suggest.ipp>
#include <ckpt/state/impl/suggest_families.ipp>
#include <ckpt/state/impl/suggest_fused.ipp>
#include <ckpt/state/impl/suggest_lines.ipp>
#include <ckpt/state/impl/suggest_prefixes.ipp>
#include <ckpt/state/impl/suggest_text.ipp>
#include <ckpt/state/impl/suggestion.ipp>
#include <ckpt/state/impl/word_table.ipp>
