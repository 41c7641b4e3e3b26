;; Calls the interpreter of Perl, which is a library, with the arguments of the program.
(module
  (import "wasi_snapshot_preview1" "args_sizes_get"
    (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (import "library" "memory" (memory 0))
  (import "library" "_initialize" (func $initialize))
  (import "library" "malloc" (func $malloc (param i32) (result i32)))
  (import "library" "zeroperl_init_with_args" (func $run (param i32 i32) (result i32)))
  (import "library" "zeroperl_shutdown" (func $shutdown))
  (export "memory" (memory 0))
  (func (export "_start")
    (local $sizes i32) (local $list i32) (local $code i32)
    (call $initialize)
    (local.set $sizes (call $malloc (i32.const 8)))
    (drop (call $args_sizes_get (local.get $sizes) (i32.add (local.get $sizes) (i32.const 4))))
    ;; A null behind the last.
    (local.set $list
      (call $malloc
        (i32.shl (i32.add (i32.load (local.get $sizes)) (i32.const 1)) (i32.const 2))))
    (drop (call $args_get (local.get $list) (call $malloc (i32.load offset=4 (local.get $sizes)))))
    (i32.store
      (i32.add (local.get $list) (i32.shl (i32.load (local.get $sizes)) (i32.const 2)))
      (i32.const 0))
    (local.set $code (call $run (i32.load (local.get $sizes)) (local.get $list)))
    (call $shutdown)
    (call $proc_exit (local.get $code)))
)
