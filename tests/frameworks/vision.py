"""Imports torchvision over a CPU build of torch: its compiled operators do not load there, so their names are defined
first."""
import importlib.util
import os
import re
import sys

import torch


def import_torchvision():
    """Returns what must be kept alive; None where torchvision is not installed."""
    found = importlib.util.find_spec('torchvision')
    if found is None:
        return None
    folder = found.submodule_search_locations[0]
    with open(os.path.join(folder, '_meta_registrations.py')) as f:
        text = f.read()
    names = set(re.findall(r'torchvision::(\w+)', text)) | set(re.findall(r'register_meta\("(\w+)"', text)) | {'nms'}
    library = torch.library.Library('torchvision', 'DEF')
    for name in sorted(names):
        library.define(name + '(Tensor a) -> Tensor')
    try:
        import torchvision  # noqa: F401
    except Exception as e:
        sys.exit('torchvision does not import: %s' % e)
    return library
