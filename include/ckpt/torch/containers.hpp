// ckpt/torch/containers.hpp: the library's builders; of these, containers and bytes.
//
// SPDX-License-Identifier: MIT
// In:      the arguments of a call; items that the machine has added stay in the node's container.
// Out:     dictionaries, sets, tuples, bytes, complex numbers.
// Refuses: arguments of other types or counts, with errc::bad_arguments.
#pragma once

#include <ckpt/pickle/graph.hpp>
#include <ckpt/pickle/text.hpp>
#include <ckpt/pickle/value.hpp>
#include <ckpt/pickle/value_access.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The library's builders, as members of a struct, so that the tables of globals can name them shortly.
struct builders {
    // --- mappings: OrderedDict, defaultdict, Counter. The container of the node has the items that SETITEM(S) set;
    // items from arguments are inserted before them.

    /// OrderedDict(), or Python 2's OrderedDict([[key, value], ...]).
    static result<value> ordered_dict(call& c);
    /// defaultdict(), defaultdict(factory), defaultdict(factory, {...}).
    static result<value> default_dict(call& c);
    /// Counter(), Counter({...}), Counter([...]), which counts the elements.
    static result<value> counter(call& c);

    // --- sequences
    static result<value> set(call& c) { return set_of(c, node_kind::set); }
    static result<value> frozen_set(call& c) { return set_of(c, node_kind::frozen_set); }

    /// torch.Size((2, 3)): a tuple of integers.
    static result<value> size(call& c);

    // --- bytes and numbers
    /// _codecs.encode(text, 'latin1'): how protocol 2 writes bytes.
    static result<value> codecs_encode(call& c);
    /// bytes(), and bytes(text, encoding) or bytes(bytes).
    static result<value> bytes(call& c) { return bytes_like(c); }
    /// bytearray(), bytearray(bytes), and Python 2's bytearray(text, 'latin-1').
    static result<value> byte_array(call& c);
    static result<value> complex_number(call& c);

    // --- TorchScript
    /// restore_type_tag(value, "Dict[str, int]"), build_intlist([...]) and similar functions: the value itself.
    static result<value> typed_container(call& c);
    /// build_tensor_from_id(3): the tensor with this number in model.json.
    static result<value> numbered_tensor(call& c);

    // --- tensors: rebuild.hpp
    static result<value> listed_storage(call& c);
    static result<value> rebuild_tensor(call& c);
    static result<value> rebuild_tensor_v2(call& c);
    static result<value> rebuild_tensor_v3(call& c);
    static result<value> rebuild_parameter(call& c);
    static result<value> parameter_class(call& c);
    static result<value> variable_class(call& c);
    static result<value> tensor_class(call& c);
    static result<value> rebuild_from_type(call& c);
    static result<value> rebuild_meta(call& c);
    /// UninitializedParameter(requires_grad), UninitializedBuffer(requires_grad): a place in the state_dict, no values.
    static result<value> uninitialised(call& c);

    // --- tensors that are more than one array: quantized.hpp, sparse.hpp, nested.hpp, wrapper.hpp
    static result<value> quantised_tensor(call& c);
    static result<value> sparse_tensor(call& c);
    static result<value> sparse_csr_tensor(call& c);
    static result<value> nested_tensor(call& c);
    static result<value> jagged_tensor(call& c);
    static result<value> wrapper_tensor(call& c);
    static result<value> device_tensor(call& c);
    static result<value> sparse_class(call& c);

    // --- tensordict: tensordict.hpp
    /// _make_td(class, state), or a class with its state, as versions before 0.5 write it.
    static result<value> tensordict(call& c);
    /// _rebuild_tensordict_files(tensors, metadata): the keys of the tensors are tuples of names.
    static result<value> tensordict_files(call& c);
    /// _rebuild_tensordict_files_consolidated(metadata, bytes).
    static result<value> consolidated_tensordict(call& c);

    // --- numpy: numpy.hpp
    static result<value> numpy_scalar(call& c);
    static result<value> numpy_reconstruct(call& c);
    static result<value> numpy_frombuffer(call& c);

  private:
    /// Makes the node a dictionary with its class, state and items; the items of `initial` come first.
    static result<value> mapping(call& c, const value& initial, bool none_allowed);
    /// A dictionary of the elements of a list or a tuple, with how often each is there.
    static result<value> counted(call& c, const value& elements);

    static result<value> set_of(call& c, node_kind kind_of_set);

    static result<value> bytes_like(call& c);

    static result<value> encoded(call& c, std::string_view text, std::string_view encoding);
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/containers.ipp>
#endif
