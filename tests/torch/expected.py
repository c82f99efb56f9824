"""What PyTorch says of an object: the rows that `ckpt ls --all --digest --json` and the values that
`ckpt show --json` must print for a file that holds it.

Needs torch (1.13 or later) and numpy. Used by the scripts that write tests/data and by property.py.
A value {"$any": "why"} in an expectation matches everything: the form is not fixed there.
"""
import base64
import collections
import copyreg
import ctypes
import json
import types
import zlib

import numpy as np
import torch

EXACT = 2 ** 53
SIMPLE = {'b1': 'bool', 'i1': 'int8', 'i2': 'int16', 'i4': 'int32', 'i8': 'int64', 'u1': 'uint8',
          'u2': 'uint16', 'u4': 'uint32', 'u8': 'uint64', 'f2': 'float16', 'f4': 'float32',
          'f8': 'float64', 'c8': 'complex64', 'c16': 'complex128'}


def crc(data):
    return '%08x' % (zlib.crc32(data) & 0xffffffff)


def untyped(tensor):
    if hasattr(tensor, 'untyped_storage'):
        return tensor.untyped_storage()
    storage = tensor.storage()
    return storage.untyped() if hasattr(storage, 'untyped') else storage._storage


def storage_bytes(storage):
    n = storage.nbytes()
    return ctypes.string_at(storage.data_ptr(), n) if n else b''


def element_bytes(tensor):
    """The logical elements in row-major order, little-endian, conj and neg resolved."""
    plain = tensor.detach()
    if type(plain) is not torch.Tensor:
        plain = plain.as_subclass(torch.Tensor)
    if plain.is_conj():
        plain = plain.resolve_conj()
    if plain.is_neg():
        plain = plain.resolve_neg()
    if plain.numel() == 0:
        return b''
    size = plain.element_size()
    data = storage_bytes(untyped(plain))
    whole = np.frombuffer(data[plain.storage_offset() * size:], dtype=np.uint8)
    strides = tuple(s * size for s in plain.stride()) + (1,)
    shape = tuple(plain.shape) + (size,)
    out = np.lib.stride_tricks.as_strided(whole, shape, strides).tobytes()
    try:  # the same by torch's own gathering, where the dtype can do it
        dense = plain.contiguous()
        first = dense.storage_offset() * size
        assert storage_bytes(untyped(dense))[first:first + len(out)] == out, 'torch gathers other bytes'
    except (RuntimeError, NotImplementedError):
        pass
    return out


def name_of_dtype(dtype):
    return str(dtype).replace('torch.', '', 1)


def plain_row(tensor):
    return {'dtype': name_of_dtype(tensor.dtype), 'shape': list(tensor.shape), 'stride': list(tensor.stride()),
            'layout': 'strided', 'storage_offset': tensor.storage_offset(),
            'nbytes': tensor.numel() * tensor.element_size(), 'requires_grad': bool(tensor.requires_grad)}


def part(key, tensor):
    row = {'key': key}
    row.update(tensor_row(tensor))
    return row


def parts_of(tensor, names):
    return [part(name.strip('_'), getattr(tensor, name)()) for name in names]


def wrapper_row(tensor):
    """What torch's own protocol says of a subclass that wraps other tensors; None for any other tensor."""
    kind = type(tensor)
    if kind.__name__ == 'ShardedTensor':  # answers few questions
        shards = tensor.local_shards()
        return {'dtype': name_of_dtype(tensor.dtype), 'shape': list(tensor.size()), 'layout': 'wrapper',
                'class': qualified(kind), 'crc32': None,
                'placement': '%s(%d), %d shards' % (type(tensor.sharding_spec()).__name__, tensor.sharding_spec().dim,
                                                    len(tensor.metadata().shards_metadata)),
                'parts': [dict(part('_local_shards.%d' % i, s.tensor),
                               placement='offsets %s' % list(s.metadata.shard_offsets)) for i, s in enumerate(shards)]}
    if hasattr(kind, '__tensor_flatten__'):
        inner = [(name, getattr(tensor, name)) for name in tensor.__tensor_flatten__()[0]]
        inner = [(name, t) for name, t in inner if isinstance(t, torch.Tensor)]
    else:
        return None
    row = {'dtype': name_of_dtype(tensor.dtype), 'shape': list(tensor.shape), 'layout': 'wrapper',
           'class': qualified(kind),
           'requires_grad': bool(tensor.requires_grad), 'crc32': None, 'parts': [part(name, t) for name, t in inner]}
    if hasattr(tensor, 'placements'):
        mesh = tensor.device_mesh
        how = ['%s(%s)' % (type(p).__name__, p.dim if hasattr(p, 'dim') else getattr(p, 'reduce_op', ''))
               for p in tensor.placements]
        row['placement'] = '%s on %s mesh %s' % (', '.join(how), mesh.device_type, list(mesh.shape))
        if mesh.mesh_dim_names:
            row['placement'] += ' (%s)' % ', '.join(mesh.mesh_dim_names)
    return row


def tensor_row(tensor, with_digest=True):
    """The fields of one row without key, path and storage."""
    wrapper = (wrapper_row(tensor) if type(tensor) is not torch.Tensor and type(tensor).__name__ != 'NestedTensor'
               else None)
    if wrapper is not None:
        return wrapper
    meta = {'dtype': name_of_dtype(tensor.dtype), 'requires_grad': bool(tensor.requires_grad)}
    layout = name_of_dtype(tensor.layout)
    if tensor.device.type == 'meta':
        meta.update(shape=list(tensor.shape), layout='meta', crc32=None)
        return meta
    if getattr(tensor, 'is_nested', False):
        if layout == 'jagged':
            names = ['values', 'offsets'] + (['lengths'] if tensor.lengths() is not None else [])
            ragged = tensor._ragged_idx
            shape = [-1 if i == ragged else n for i, n in enumerate(tensor.shape)]
        else:
            names = ['values', '_nested_tensor_size', '_nested_tensor_strides', '_nested_tensor_storage_offsets']
            shape = [tensor.size(0)] + [-1] * (tensor.dim() - 1)
        parts = parts_of(tensor, names)
        if layout != 'jagged':
            for row, name in zip(parts, ('buffer', 'sizes', 'strides', 'offsets')):
                row['key'] = name
        meta.update(shape=shape, layout='jagged' if layout == 'jagged' else 'nested', crc32=None, parts=parts)
        return meta
    if layout != 'strided':
        names = {'sparse_coo': ('_indices', '_values'), 'sparse_csr': ('crow_indices', 'col_indices', 'values'),
                 'sparse_bsr': ('crow_indices', 'col_indices', 'values'),
                 'sparse_csc': ('ccol_indices', 'row_indices', 'values'),
                 'sparse_bsc': ('ccol_indices', 'row_indices', 'values')}[layout]
        meta.update(shape=list(tensor.shape), layout=layout, crc32=None, parts=parts_of(tensor, names))
        return meta
    row = plain_row(tensor)
    if tensor.is_conj() or tensor.is_neg():
        row['lazy'] = True  # the bytes of the file are not the logical ones
    if tensor.is_quantized:
        scheme = name_of_dtype(tensor.qscheme())
        quant = {'scheme': scheme}
        if 'per_tensor' in scheme:
            quant.update(scale=tensor.q_scale(), zero_point=tensor.q_zero_point())
        else:
            quant.update(axis=tensor.q_per_channel_axis(), scale=part('scale', tensor.q_per_channel_scales()),
                         zero_point=part('zero_point', tensor.q_per_channel_zero_points()))
        row['quant'] = quant
        if tensor.dtype in (torch.qint8, torch.quint8, torch.qint32):
            row['crc32'] = crc(element_bytes(tensor.int_repr()))
        else:
            del row['nbytes']
        return row
    total = untyped(tensor).nbytes()
    if row['nbytes'] > 16 * total:
        row['error'] = 'output_limit'
    elif with_digest:
        row['crc32'] = crc(element_bytes(tensor))
    return row


def array_dtype(array):
    return SIMPLE.get(array.dtype.str[1:]) if array.dtype.names is None and array.dtype.subdtype is None else None


def array_bytes(array):
    little = array.astype(array.dtype.newbyteorder('<'), order='C')
    return little.tobytes()


def array_row(array):
    size = array.dtype.itemsize
    fortran = array.flags.fnc
    if 0 in array.shape:
        stride = None  # not fixed
    else:
        stride, step = [], 1
        for n in (array.shape if fortran else array.shape[::-1]):
            stride.append(step)
            step *= n
        stride = stride if fortran else stride[::-1]
    row = {'dtype': array_dtype(array), 'shape': list(array.shape), 'stride': stride, 'layout': 'strided',
           'storage_offset': 0, 'nbytes': array.size * size, 'requires_grad': False,
           'crc32': crc(array_bytes(array)), 'shares': None, 'numpy': True}
    return row


def is_array(value):
    return isinstance(value, np.ndarray) and type(value) is np.ndarray and array_dtype(value) is not None


def element(key):
    """A dictionary key as an element of a path."""
    if isinstance(key, str):
        return str(key)
    if isinstance(key, int) and not isinstance(key, bool):
        return int(key)
    return repr(key)


def state_of(value):
    """What pickle stores for an object: attributes by name; a state that is a sequence, and then the arguments of the
    call, by position."""
    if isinstance(value, torch.ScriptObject):
        return dict(enumerate(value.__getstate__()))
    if isinstance(value, torch.Tensor):
        return dict(value.__dict__)
    try:
        reduced = value.__reduce_ex__(2)
    except Exception:
        return {}
    if not isinstance(reduced, tuple):
        return {}
    state = reduced[2] if len(reduced) > 2 else None
    out = {}
    if isinstance(state, dict):
        out.update(state)
    elif isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict):
        out.update(state[0] or {})
        out.update(state[1])
    elif isinstance(state, (tuple, list)) and len(reduced) < 4:  # of a class that keeps a state of its own making
        out.update(enumerate(state))
    first = len(state) if isinstance(state, (tuple, list)) else 0
    if len(reduced) < 4:  # items would stand before them
        out.update(enumerate(reduced[1][1:] if reduced[0] is copyreg.__newobj__ else reduced[1], first))
    return out


BESIDE = object()  # the third element of a child that is an attribute of a module


def module_children(module, prefix='', above=()):
    """What a module and its submodules have: the state_dict of each, then its other attributes, then the buffers that
    are not persistent."""
    own = {}
    module._save_to_state_dict(own, prefix, True)
    out = list(own.items())
    for k, sub in module._modules.items():
        if sub is not None and not any(sub is m for m in above):
            out += module_children(sub, prefix + k + '.', above + (module,))
    parts = ('_parameters', '_buffers', '_modules')
    out += [(prefix + k, v, BESIDE) for k, v in state_of(module).items()
            if isinstance(k, str) and k not in parts and not isinstance(v, torch.ScriptObject)]
    fleeting = getattr(module, '_non_persistent_buffers_set', ())
    return out + [(prefix + k, v) for k, v in module._buffers.items() if k in fleeting and v is not None]


def kept(root):
    """What is reached without attributes of modules: it is not listed below an attribute again. Object by id."""
    found, todo = {}, [root]
    while todo:
        value = todo.pop()
        if id(value) in found:
            continue
        found[id(value)] = value
        if isinstance(value, torch.nn.Module):
            todo += [m for m in value.modules()]
        if not isinstance(value, torch.Tensor):
            todo += [c[1] for c in children(value) if len(c) == 2]
    return found


def children(value):
    if isinstance(value, torch.nn.Module):
        return module_children(value)
    if isinstance(value, dict):
        return [(element(k), v) for k, v in value.items()]
    if isinstance(value, (list, tuple, collections.deque)):
        return list(enumerate(value))
    if isinstance(value, (str, bytes, bytearray, int, float, complex, bool, type(None), type, np.ndarray, np.generic,
                          set, frozenset, types.FunctionType, types.BuiltinFunctionType, torch.dtype, torch.device)):
        return []
    return [(k, v) for k, v in state_of(value).items()]


def rows(root, digest=True):
    """Every tensor under every path that reaches it, in the order of the file."""
    groups, keep, out = {}, [], []
    elsewhere = kept(root)
    # An explicit stack of (iterator, container id), so that deep objects do not recurse.
    on_path, path = set(), []

    def visit(value):
        if isinstance(value, torch.Tensor):
            row = {'key': '.'.join(str(e) for e in path), 'path': list(path)}
            row.update(tensor_row(value, digest))
            if row['layout'] == 'strided':
                storage = untyped(value)
                keep.append(storage)
                row['shares'] = groups.setdefault(storage._cdata, len(groups)) if storage.nbytes() else None
            out.append(row)
            return list(state_of(value).items()) if row['layout'] == 'strided' else None
        if is_array(value):
            row = {'key': '.'.join(str(e) for e in path), 'path': list(path)}
            row.update(array_row(value))
            out.append(row)
            return None
        return children(value)

    first = visit(root)
    stack = [(iter(first or []), root, False)]
    on_path.add(id(root))
    while stack:
        step = next(stack[-1][0], None)
        if step is None:
            on_path.discard(id(stack.pop()[1]))
            if path:
                path.pop()
            continue
        name, value = step[:2]
        beside = len(step) == 3 or (stack[-1][2] and not isinstance(stack[-1][1], torch.nn.Module))
        if beside and id(value) in elsewhere:
            continue
        path.append(name)
        inner = visit(value) if id(value) not in on_path else None
        if inner:
            keep.append(inner)
            on_path.add(id(value))
            stack.append((iter(inner), value, beside))
        else:
            path.pop()
    return out


# --- values -----------------------------------------------------------------------------------------------------

def real(x):
    if x != x:
        return {'$float': 'nan'}
    if x in (float('inf'), float('-inf')):
        return {'$float': 'inf' if x > 0 else '-inf'}
    return float(x)


def text(s):
    try:
        s.encode('utf-8')
        return str(s)
    except UnicodeEncodeError:
        return {'$bytes': base64.b64encode(s.encode('utf-8', 'surrogatepass')).decode(), 'was': 'str'}


def qualified(thing):
    return '%s.%s' % (thing.__module__, thing.__qualname__)


def whichmodule(thing):
    module = getattr(thing, '__module__', None) or getattr(getattr(thing, '__self__', None), '__module__', None)
    # As it is spelled today, where a package was renamed as a whole.
    return module.replace('pytorch_lightning', 'lightning.pytorch', 1) if module else 'builtins'


def plain(v):
    """What an object of a configuration library stands for."""
    while True:
        module, own = type(v).__module__, getattr(v, '__dict__', {})
        if module in ('omegaconf.dictconfig', 'omegaconf.listconfig') and '_content' in own:
            v = own['_content']
        elif module == 'omegaconf.nodes' and '_val' in own:
            v = own['_val']
        elif module == 'ml_collections.config_dict.config_dict' and '_fields' in own:
            v = own['_fields']
        elif module == 'ml_collections.config_dict.config_dict' and own.get('_ops') == []:
            v = own['_value']
        else:
            return v


class Renderer:
    def __init__(self, protocol, brief=False):
        self.protocol = protocol
        self.brief = brief  # of tensors only dtype and shape: their rows say the rest
        self.on_path = {}

    def render(self, v, path=()):
        v = plain(v)
        if v is None or isinstance(v, bool):
            return v
        if isinstance(v, np.generic):
            kind, size = v.dtype.kind, v.dtype.itemsize
            if kind in 'biuf' and size <= 8 or kind == 'c' and size <= 16:
                return self.render(v.item(), path)
            return {'$any': 'numpy scalar of an unusual dtype'}
        if type(v) is int:
            if abs(v) <= EXACT:
                return v
            return {'$int': str(v)} if v.bit_length() < 14000 else {'$int': hex(v)}
        if type(v) is float:
            return real(v)
        if type(v) is complex:
            return {'$complex': [real(v.real), real(v.imag)]}
        if type(v) is str:
            return text(v)
        if type(v) in (bytes, bytearray):
            return {'$bytes': base64.b64encode(bytes(v)).decode()}
        if isinstance(v, torch.Tensor):
            row = tensor_row(v)
            return {'$tensor': {k: row[k] for k in ('dtype', 'shape') if k in row} if self.brief else row}
        if isinstance(v, (torch.Size,)):
            return {'$tuple': [int(x) for x in v]}
        if isinstance(v, torch.dtype):
            return {'$global': str(v)}
        if isinstance(v, np.dtype):
            return {'$any': 'numpy dtype'}
        if isinstance(v, torch.nn.Module):
            return {'$any': 'whole module'}
        if hasattr(torch, 'layout') and isinstance(v, (torch.layout, torch.memory_format)):
            return {'$any': 'layout or memory format'}
        if 'Storage' in type(v).__name__ and hasattr(v, 'nbytes'):
            return {'$storage': {'nbytes': v.nbytes()}}
        if isinstance(v, np.ndarray):
            if not is_array(v):
                return {'$any': 'array of an unusual dtype'}
            return {'$ndarray': {'dtype': v.dtype.str, 'shape': list(v.shape), 'fortran_order': bool(v.flags.fnc),
                                 'crc32': crc(array_bytes(v))}}
        if v is Ellipsis or v is NotImplemented:
            return {'$global': 'builtins.%r' % (v,)}
        if v is type(None) or v is type(Ellipsis) or v is type(NotImplemented):
            what = {type(None): None, type(Ellipsis): {'$global': 'builtins.Ellipsis'},
                    type(NotImplemented): {'$global': 'builtins.NotImplemented'}}[v]
            return {'$object': {'class': 'builtins.type', 'args': [what]}}
        if isinstance(v, (type, types.FunctionType)) or isinstance(v, types.BuiltinFunctionType) and isinstance(
                v.__reduce_ex__(self.protocol), str):
            return self.named(whichmodule(v), v.__qualname__)
        if id(v) in self.on_path:
            return {'$cycle': self.on_path[id(v)]}
        self.on_path[id(v)] = list(path)
        try:
            return self.container(v, path)
        finally:
            del self.on_path[id(v)]

    def named(self, module, qualname):
        """A class or a function. Before protocol 4 a nested one is written as getattr(outer, name)."""
        outer, _, name = qualname.rpartition('.')
        if outer and self.protocol < 4:
            return {'$object': {'class': 'builtins.getattr', 'args': [self.named(module, outer), name]}}
        return {'$global': '%s.%s' % (module, qualname)}

    def container(self, v, path):
        if isinstance(v, dict):
            items = [(k, self.render(x, path + (element(k),))) for k, x in v.items()]
            if all(type(k) is str and not k.startswith('$') and isinstance(text(k), str) for k, _ in items):
                return dict(items)
            return {'$dict': [[self.render(k, path), x] for k, x in items]}
        if type(v) is list:
            return [self.render(x, path + (i,)) for i, x in enumerate(v)]
        if type(v) is tuple:
            return {'$tuple': [self.render(x, path + (i,)) for i, x in enumerate(v)]}
        if type(v) in (set, frozenset):
            return {'$set': [self.render(x, path + (i,)) for i, x in enumerate(v)]}
        special = copyreg.dispatch_table.get(type(v))
        reduced = special(v) if special else v.__reduce_ex__(self.protocol)
        if isinstance(reduced, str):
            return {'$global': '%s.%s' % (whichmodule(v), reduced)}
        func, args = reduced[0], reduced[1]
        if func is copyreg.__newobj__:
            func, args = args[0], args[1:]
        elif func is copyreg.__newobj_ex__:
            func, args = args[0], args[1]
        out = {'class': '%s.%s' % (whichmodule(func), func.__qualname__),
               'args': [self.render(x, path) for x in args]}
        if len(reduced) > 2 and reduced[2] is not None:
            out['state'] = self.state(reduced[2], path)
        if len(reduced) > 3 and reduced[3] is not None:
            out['items'] = [self.render(x, path + (i,)) for i, x in enumerate(reduced[3])]
        return {'$object': {k: x for k, x in out.items() if x != []}}

    def state(self, state, path):
        return self.render(state, path)


def leaves(root, most=6):
    """A few paths in text form and the values at them, to try the path syntax."""
    out, stack, seen = [], [((), root)], set()
    while stack and len(out) < 400:
        path, v = stack.pop(0)
        if id(v) in seen:
            continue
        if isinstance(v, dict) and all(type(k) in (str, int) for k in v):
            seen.add(id(v))
            stack += [(path + (k,), x) for k, x in v.items()]
        elif type(v) in (list, tuple):
            seen.add(id(v))
            stack += [(path + (i,), x) for i, x in enumerate(v)]
        elif path and type(v) in (type(None), bool, int, float, str, bytes, np.float64):
            if all(type(e) is int or e and e.isprintable() and not e.startswith('[') and not e.lstrip('-').isdigit()
                   for e in path):
                out.append((path, v))
    step = max(1, len(out) // most)
    return out[::step][:most]


def path_text(path):
    return '/'.join(str(e).replace('\\', '\\\\').replace('/', '\\/') for e in path)


def describe(root, protocol=2):
    values = {'': Renderer(protocol, brief=True).render(root)}
    for path, v in leaves(root):
        values[path_text(path)] = Renderer(protocol, brief=True).render(v)
    return {'tensors': rows(root), 'values': values}


def dumps(document):
    """JSON with one tensor a line."""
    head = {k: v for k, v in document.items() if k not in ('tensors', 'values')}
    lines = ['{']
    for k, v in head.items():
        lines.append(' %s: %s,' % (json.dumps(k), json.dumps(v)))
    lines.append(' "tensors": [')
    lines.append(',\n'.join('  ' + json.dumps(r) for r in document['tensors']))
    lines.append(' ],')
    lines.append(' "values": {')
    lines.append(',\n'.join('  %s: %s' % (json.dumps(k), json.dumps(v)) for k, v in document['values'].items()))
    lines.append(' }')
    lines.append('}')
    return '\n'.join(lines) + '\n'
