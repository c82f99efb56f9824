#!/usr/bin/env python3
"""Lists what Python's standard library offers for running, importing, opening, connecting and deleting.

Writes tests/data/stdlib_actions.txt (a name a line, "module name") and include/ckpt/pickle/impl/acting.ipp (the names
of classes among them). Run with the Python whose library is meant; the lists in the tree are of 3.11.

A name acts if a primitive is reached from it: a builtin or a function of C that runs, imports, opens, connects or
deletes. What a function reaches is read off its code: the globals that it names, and their attributes; of a class,
what making, restoring or filling an object of it calls.
"""
import builtins, dis, importlib, io, os, pkgutil, sys, types, warnings

warnings.simplefilter('ignore')
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
# Modules that act when they are imported, that need a display, or that are no part of programs.
LEFT_OUT = {'antigravity', 'this', 'idlelib', 'turtledemo', 'turtle', 'test', 'lib2to3', 'ensurepip', '__main__',
            'tkinter'}
# Modules of C all of whose callables act.
ACTING_MODULES = ('posix nt _posixsubprocess _winapi _socket _ssl _ctypes _imp _thread marshal _pickle _sqlite3 _dbm '
                  '_gdbm mmap fcntl syslog readline _multiprocessing _posixshmem select pty termios resource '
                  'faulthandler').split()
# Functions of those modules that only tell or compute something.
INNOCENT = set(('fspath fsencode fsdecode getpid getcwd stat lstat urandom get_ident allocate_lock lock RLock '
                'LockType _local stat_result terminal_size get_terminal_size cpu_count dumps inet_aton inet_ntoa '
                'inet_pton inet_ntop htons htonl ntohs ntohl getsizeof strerror WIFEXITED WEXITSTATUS get_native_id '
                'stack_size error sizeof alignment byref addressof getpagesize getrlimit register_at_fork '
                'get_suffixes extension_suffixes is_builtin is_frozen acquire_lock release_lock lock_held source_hash '
                '_fix_co_filename times_result uname_result sched_param DirEntry waitid_result ParamSpec Pickler '
                'PickleError PicklingError UnpicklingError getppid get_blocking umask times uname PickleBuffer '
                'struct_rusage tcgetattr TimeoutExpired sched_yield _is_main_interpreter getlogin getuid geteuid '
                'getgid getegid getenv daemon_threads_allowed _excepthook _ExceptHookArgs ExceptHookArgs TIMEOUT_MAX '
                'pathconf fstat _SimpleCData Structure Union Array _Pointer register_type register_adapter access '
                'SSLError gaierror herror timeout listdir isatty getpgrp').split())
PRIMITIVES = [builtins.eval, builtins.exec, builtins.compile, builtins.__import__, builtins.open, builtins.input,
              builtins.breakpoint, io.open, io.FileIO, io.open_code, types.FunctionType, types.CodeType, sys.settrace,
              sys.setprofile, sys.addaudithook]
# What Python's own objects do when they are restored: a method of a class acts only if one of these does.
RESTORING = ('__new__', '__init__', '__post_init__', '__setstate__', '__reduce__', '__setitem__', 'append', 'extend',
             'add', '__del__', '__call__', '__setattr__', '__hash__', '__eq__', '__missing__', '__getattr__')
# Files of the time-zone database are all that this opens, under names that it checks.
EXCEPTIONS = {('zoneinfo', 'ZoneInfo'), ('zoneinfo._zoneinfo', 'ZoneInfo')}


def modules():
    for name in sorted(sys.stdlib_module_names):
        if name.split('.')[0] in LEFT_OUT:
            continue
        try:
            module = importlib.import_module(name)
        except BaseException:
            continue
        yield name, module
        for info in pkgutil.walk_packages(getattr(module, '__path__', []), name + '.', onerror=lambda _: None):
            if any(part in LEFT_OUT or part in ('tests', '__main__') for part in info.name.split('.')):
                continue
            try:
                yield info.name, importlib.import_module(info.name)
            except BaseException:
                continue


def codes(function):
    """The code of a function, and of the functions inside it."""
    todo = [function.__code__]
    while todo:
        code = todo.pop()
        yield code
        todo += [c for c in code.co_consts if isinstance(c, types.CodeType)]


def plain(thing):
    """The function behind a method, a property or a wrapper."""
    for _ in range(8):
        if isinstance(thing, (staticmethod, classmethod)):
            thing = thing.__func__
        elif isinstance(thing, types.MethodType):
            thing = thing.__func__
        elif isinstance(thing, property):
            thing = thing.fget
        elif hasattr(thing, '__wrapped__') and isinstance(thing.__wrapped__, types.FunctionType):
            thing = thing.__wrapped__
        else:
            break
    return thing


def reached(function, owner=None):
    """The objects that a function names: globals, attributes of modules and classes, methods of its own class."""
    space = function.__globals__
    for code in codes(function):
        for name in code.co_names:
            thing = space.get(name, getattr(builtins, name, None))
            if thing is not None:
                yield thing
            if isinstance(thing, (types.ModuleType, type)):
                for attribute in code.co_names:
                    found = vars(thing).get(attribute) if isinstance(thing, types.ModuleType) else None
                    if (found is not None
                        and attribute in ATTRIBUTES.setdefault(code, attributes_of(code)).get(name, ())):
                        yield found
            if name in LOCAL_IMPORTS.setdefault(code, imports_of(code)):  # `import subprocess` inside the function
                inside = vars(sys.modules.get(name, types))
                yield from (inside[n] for n in code.co_names if n in inside)
            if owner is not None and name not in space:
                for base in owner.__mro__:
                    if name in vars(base) and base is not object:
                        yield vars(base)[name]
                        break


ATTRIBUTES = {}
LOCAL_IMPORTS = {}


def imports_of(code):
    return {op.argval for op in dis.get_instructions(code) if op.opname == 'IMPORT_NAME'}


def attributes_of(code):
    """name -> attributes that the code takes of that global."""
    out = {}
    before = None
    for op in dis.get_instructions(code):
        if op.opname in ('LOAD_GLOBAL', 'LOAD_NAME', 'IMPORT_NAME'):
            before = op.argval
        elif op.opname in ('LOAD_ATTR', 'LOAD_METHOD') and before is not None:
            out.setdefault(before, set()).add(op.argval)
            before = None
        elif op.opname not in ('PUSH_NULL', 'PRECALL', 'CACHE'):
            before = None
    return out


def main():
    everything = {}  # id -> object, so that ids stay unique
    names = {}       # id -> [(module, name)]
    owners = {}      # id of a function -> its class
    for module_name, module in modules():
        for name, thing in list(vars(module).items()):
            if not callable(thing) or isinstance(thing, types.ModuleType):
                continue
            thing = plain(thing)
            everything[id(thing)] = thing
            names.setdefault(id(thing), []).append((module_name, name))
            if isinstance(thing, type):
                for base in thing.__mro__:
                    for method in vars(base).values():
                        method = plain(method)
                        if isinstance(method, types.FunctionType) and base is not object:
                            everything[id(method)] = method
                            owners.setdefault(id(method), base)
    acting = {id(p) for p in PRIMITIVES}
    for module in ACTING_MODULES:
        for name, thing in vars(sys.modules.get(module, types.ModuleType(module))).items():
            if callable(thing) and name not in INNOCENT and not name.startswith('__') and not (
                    isinstance(thing, type) and issubclass(thing, BaseException)):
                acting.add(id(thing))
                everything.setdefault(id(thing), thing)
    edges = {}
    for key, thing in list(everything.items()):
        targets = set()
        if isinstance(thing, types.FunctionType):
            for other in reached(thing, owners.get(key)):
                targets.add(id(plain(other)))
        elif isinstance(thing, type):
            for base in thing.__mro__:
                if id(base) != key and base is not object:
                    targets.add(id(base))
            for method in RESTORING:
                for base in thing.__mro__:
                    if method in vars(base) and base is not object:
                        targets.add(id(plain(vars(base)[method])))
                        break
        edges[key] = targets
    changed = True
    while changed:
        changed = False
        for key, targets in edges.items():
            if key not in acting and targets & acting:
                acting.add(key)
                changed = True
    listed = sorted({pair for key in acting for pair in names.get(key, ())} - EXCEPTIONS)
    listed = [p for p in listed if all(c.isidentifier() for c in p[0].split('.')) and p[1].isidentifier()]
    with open(os.path.join(ROOT, 'tests', 'data', 'stdlib_actions.txt'), 'w') as out:
        out.writelines(f'{module} {name}\n' for module, name in listed)
    classes = sorted({name for key in acting if isinstance(everything.get(key), type) for _, name in names.get(key, ())
                      if name[0].isupper() and name.isalnum() and name.isascii()})
    write_classes(classes)
    print(len(listed), 'names,', len(classes), 'names of classes')


def write_classes(classes):
    lines, line = [], '   '
    for name in classes:
        if len(line) + len(name) + 4 > 120:
            lines.append(line)
            line = '   '
        line += f' "{name}",'
    lines.append(line)
    with open(os.path.join(ROOT, 'include', 'ckpt', 'pickle', 'impl', 'acting.ipp'), 'w') as out:
        out.write(f'''\
// ckpt/pickle/impl/acting.ipp: the definitions of acting.hpp. tests/frameworks/stdlib_actions.py writes the table.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/pickle/acting.hpp>

#include <algorithm>
#include <iterator>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {{

// clang-format off
inline constexpr std::string_view acting_classes[]{{
''' + '\n'.join(lines) + '''
};
// clang-format on

CKPT_DETAIL_DEF bool names_acting_class(std::string_view name) noexcept {
    return std::binary_search(std::begin(acting_classes), std::end(acting_classes), name);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
''')


if __name__ == '__main__':
    main()
