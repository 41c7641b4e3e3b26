def _wait():
    import gc, linecache, os, sys, traceback
    from importlib.machinery import BuiltinImporter, SourceFileLoader
    import runpy

    def take(count):
        parts = []
        while count:
            part = os.read(0, min(count, 65536))
            if not part:
                os._exit(125)
            parts.append(part)
            count -= len(part)
        return b''.join(parts)

    def fields():
        data, at = take(int(take(11))), 0
        while at < len(data):
            colon = data.index(b':', at)
            end = colon + 1 + int(data[at:colon])
            yield data[colon + 1:end]
            at = end + 1

    def show(kind, error, trace):
        traceback.print_exception(kind, error, trace)

    # What each script would have to do first, and would have to look through whenever it cleans up.
    exec(compile('0', '<string>', 'exec', dont_inherit=True), {})
    gc.collect()
    gc.freeze()
    if len(sys.argv) > 1:
        os.write(1, sys.argv[1].encode())

    # In a frame of its own, as what is older is never cleaned up.
    def job():
        module = type(sys)('__main__')
        main = module.__dict__
        kind, name, text, count, *rest = fields()
        kind, name, count = kind.decode(), os.fsdecode(name), int(count)
        arguments = [os.fsdecode(item) for item in rest[:count]]
        for item in rest[count:]:
            key, _, value = os.fsdecode(item).partition('=')
            os.environ[key] = value
        if os.isatty(1):
            sys.stdout.reconfigure(line_buffering=True)
        main.update(__builtins__=sys.modules['builtins'], __annotations__={})
        sys.modules['__main__'] = module
        if kind == 'm':
            name = text.decode()
            sys.argv, sys.orig_argv = ['-m', *arguments], ['python', '-m', name, *arguments]
            sys.path[0] = os.getcwd()
            return runpy._run_module_as_main, (name,), show
        if kind == 'f':
            path = os.path.abspath(name)
            sys.argv, sys.orig_argv = [name, *arguments], ['python', name, *arguments]
            sys.path[0] = os.path.dirname(path)
            main.update(__file__=path, __cached__=None, __loader__=SourceFileLoader('__main__', path))
            lines = text.decode('utf-8', 'replace').splitlines(True)
            linecache.cache[path] = (len(text), None, lines, path)
        elif kind == 's':
            path = '<stdin>'
            text = sys.stdin.buffer.read()
            sys.argv = ['-', *arguments] if arguments else ['']
            sys.orig_argv = ['python', *sys.argv[bool(not arguments):]]
        else:
            path = '<string>'
            sys.argv, sys.orig_argv = ['-c', *arguments], ['python', '-c', text.decode(), *arguments]
            text += b'\n'
            main['__loader__'] = BuiltinImporter

        def run():
            code = compile(text, path, 'exec', dont_inherit=True)
            exec(code, main)
        return run, (), show
    return job()


def _run(run, arguments, show, sys):
    code, text = 0, None
    try:
        run(*arguments)
    except SystemExit as end:
        code = end.code
        if code is None:
            code = 0
        elif not isinstance(code, int):
            code, text = 1, code
    except BaseException as error:
        trace, own = error.__traceback__, {sys._getframe().f_code}
        if run.__module__ != 'runpy':
            own.add(run.__code__)
        while trace is not None and trace.tb_frame.f_code in own:
            trace = trace.tb_next
        hook = sys.excepthook
        if hook is sys.__excepthook__:
            hook = show
        error.__traceback__ = trace
        sys.last_type, sys.last_value, sys.last_traceback = type(error), error, trace
        sys.last_exc = error
        hook(type(error), error, trace)
        code = 1
    return code, text


# As the interpreter itself does at its end, but for what it does to modules that no script has.
def _end(code, text, old, sys):
    import _weakref, atexit, gc, os
    if text is not None:
        print(text, file=sys.stderr)
    if 'threading' in sys.modules:
        sys.modules['threading']._shutdown()
    atexit._run_exitfuncs()

    def flush():
        try:
            sys.stdout is None or sys.stdout.closed or sys.stdout.flush()
            sys.stderr is None or sys.stderr.closed or sys.stderr.flush()
        except OSError as error:
            os.write(2, f'Exception ignored while flushing: {error!r}\n'.encode())
            return 120
        return code
    code = flush()
    for name in ('last_type', 'last_value', 'last_traceback', 'last_exc'):
        sys.__dict__.pop(name, None)
    fresh = [name for name in sys.modules if name not in old or name == '__main__']
    fresh = [_weakref.ref(sys.modules.pop(name)) for name in reversed(fresh)]
    gc.collect()
    for module in fresh:
        names = getattr(module(), '__dict__', {})
        for first in (True, False):
            for name in list(names):
                if name != '__builtins__' and name.startswith('_') == first:
                    names[name] = None
    gc.collect()
    code = flush() or code
    os._exit(code & 255)


import sys as _sys
_job, _old = _wait(), set(_sys.modules)
_ended = _run(*_job, _sys)
del _job
_end(*_ended, _old, _sys)
