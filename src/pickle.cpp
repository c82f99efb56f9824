// pickle/: the machine, and the values that it leaves.
#include <ckpt/pickle/impl/acting.ipp>
#include <ckpt/pickle/impl/attributes.ipp>
#include <ckpt/pickle/impl/globals.ipp>
#include <ckpt/pickle/impl/graph.ipp>
#include <ckpt/pickle/impl/json_values.ipp>
#include <ckpt/pickle/impl/keys.ipp>
#include <ckpt/pickle/impl/machine.ipp>
#include <ckpt/pickle/impl/names.ipp>
#include <ckpt/pickle/impl/text.ipp>
#include <ckpt/pickle/impl/value.ipp>
#include <ckpt/pickle/impl/whole_call.ipp>
