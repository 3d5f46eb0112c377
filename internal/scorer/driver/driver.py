# The program that runs a suite's Python for telltale. It reads one request a line from standard input
# and answers each with one line; what the suite's code prints goes to standard error.
import importlib.util
import inspect
import json
import math
import os
import re
import sys
import asyncio

answer = sys.stdout
sys.stdout = sys.stderr
sys.path.insert(0, os.getcwd())

inline = {}
files = {}


def inline_function(source):
    """Compiles an expression, or a function body of several lines."""
    if source not in inline:
        if len(inline) >= 1000:
            inline.clear()
        body = "    return " + source
        if "\n" in source:
            indent = re.search(r"^(?!\s*$)[ \t]+", source, re.MULTILINE)
            step = indent.group(0) if indent else "    "
            body = "\n".join(step + line for line in source.split("\n"))
        scope = {"json": json, "__name__": "telltale_inline"}
        exec("def main(output, context):\n" + body + "\n", scope)
        inline[source] = scope["main"]
    return inline[source]


def file_function(path, name):
    if path not in files:
        folder = os.path.dirname(path)
        if folder not in sys.path:
            sys.path.insert(0, folder)
        spec = importlib.util.spec_from_file_location("telltale_file_%d" % len(files), path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        files[path] = module
    f = files[path]
    for part in name.split("."):
        f = getattr(f, part, None)
    if not callable(f):
        raise ValueError("%s has no function %s" % (path, name))
    return f


def sound(value):
    """Refuses what JSON would turn into something else."""
    if value is None:
        raise ValueError("it gives no value")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("it gives %r" % value)
    return value


def handle(request):
    if request.get("file"):
        usual = "get_assert" if request["op"] == "check" else "get_transform"
        f = file_function(request["file"], request.get("function") or usual)
    else:
        f = inline_function(request["source"])
    value = f(request["output"], request["context"])
    if inspect.isawaitable(value):
        value = asyncio.run(value)
    return sound(value)


def plain(value):
    """Writes objects such as data classes as their attributes."""
    if hasattr(value, "__dict__"):
        return vars(value)
    raise TypeError("%s has no form in JSON" % type(value).__name__)


for line in sys.stdin:
    if not line.strip():
        continue
    request = json.loads(line)
    try:
        reply = json.dumps({"id": request["id"], "value": handle(request)}, default=plain, allow_nan=False)
    except BaseException as err:  # also SystemExit: the code must not end the process
        reply = json.dumps({"id": request["id"], "error": "%s: %s" % (type(err).__name__, err)})
    answer.write(reply + "\n")
    answer.flush()
