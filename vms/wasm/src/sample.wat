;; Reads what is typed, sleeps, draws by chance, keeps a file, and calls deeply: something of all
;; that a program can do.
(module
  (import "wasi_snapshot_preview1" "fd_read"
    (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get"
    (func $time (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2 8)
  (memory $second 1)
  (global $round (mut i32) (i32.const 0))
  (global $sum (mut i64) (i64.const 0))
  (type $unary (func (param i64) (result i64)))
  (table $table 4 8 funcref)
  (elem (table $table) (i32.const 0) func $mix $fold)
  (data (i32.const 0) "round \00\00\00\00\00\00 sum \00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\0a")
  (data (i32.const 64) "notes")

  (func $mix (type $unary)
    (i64.xor (i64.mul (local.get 0) (i64.const 0x9e3779b97f4a7c15))
      (i64.rotl (local.get 0) (i64.const 17))))
  (func $fold (type $unary)
    (i64.add (i64.shr_u (local.get 0) (i64.const 32)) (i64.and (local.get 0) (i64.const -2))))

  ;; As deep as its argument says.
  (func $deep (param $left i32) (param $value i64) (result i64)
    (if (result i64) (i32.eqz (local.get $left))
      (then (local.get $value))
      (else
        (i64.add (i64.const 1)
          (call $deep (i32.sub (local.get $left) (i32.const 1))
            (call_indirect $table (type $unary) (local.get $value)
              (i32.and (local.get $left) (i32.const 1))))))))

  (func $hex (param $at i32) (param $digits i32) (param $value i64)
    (local $digit i32)
    (loop $next
      (local.set $digits (i32.sub (local.get $digits) (i32.const 1)))
      (local.set $digit (i32.and (i32.wrap_i64 (local.get $value)) (i32.const 15)))
      (i32.store8 (i32.add (local.get $at) (local.get $digits))
        (select (i32.add (local.get $digit) (i32.const 48))
          (i32.add (local.get $digit) (i32.const 87))
          (i32.lt_u (local.get $digit) (i32.const 10))))
      (local.set $value (i64.shr_u (local.get $value) (i64.const 4)))
      (br_if $next (local.get $digits))))

  (func $put (param $fd i32) (param $at i32) (param $count i32)
    (i32.store (i32.const 128) (local.get $at))
    (i32.store (i32.const 132) (local.get $count))
    (drop (call $write (local.get $fd) (i32.const 128) (i32.const 1) (i32.const 136))))

  ;; Adds what is in memory to the sum.
  (func $take (param $at i32) (param $count i32)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (global.set $sum
          (call $mix (i64.add (global.get $sum) (i64.load8_u (local.get $at)))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next))))

  ;; Writes the line into a file of the first folder, or reads it, by turns.
  (func $keep
    (br_if 0 (call $open (i32.const 3) (i32.const 1) (i32.const 64) (i32.const 5) (i32.const 1)
      (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 140)))
    (if (i32.and (global.get $round) (i32.const 1))
      (then (call $put (i32.load (i32.const 140)) (i32.const 0) (i32.const 34)))
      (else
        (i32.store (i32.const 128) (i32.const 4000))
        (i32.store (i32.const 132) (i32.const 256))
        (if (i32.eqz (call $read (i32.load (i32.const 140)) (i32.const 128) (i32.const 1)
              (i32.const 136)))
          (then (call $take (i32.const 4000) (i32.load (i32.const 136)))))))
    (drop (call $close (i32.load (i32.const 140)))))

  ;; Sleeps for some microseconds.
  (func $sleep
    (memory.fill (i32.const 256) (i32.const 0) (i32.const 48))
    (i32.store (i32.const 272) (i32.const 1))
    (i64.store (i32.const 280) (i64.const 900))
    (drop (call $poll (i32.const 256) (i32.const 320) (i32.const 1) (i32.const 136))))

  (func (export "_start")
    (loop $forever
      (global.set $round (i32.add (global.get $round) (i32.const 1)))
      ;; Some of what was typed.
      (i32.store (i32.const 128) (i32.const 1024))
      (i32.store (i32.const 132) (i32.const 16))
      (drop (call $read (i32.const 0) (i32.const 128) (i32.const 1) (i32.const 136)))
      (call $take (i32.const 1024) (i32.load (i32.const 136)))
      (drop (call $random (i32.const 2048) (i32.const 12)))
      (call $take (i32.const 2048) (i32.const 12))
      (drop (call $time (i32.const 1) (i64.const 0) (i32.const 2064)))
      (global.set $sum (i64.add (global.get $sum)
        (call $deep (i32.and (global.get $round) (i32.const 63)) (i64.load (i32.const 2064)))))
      ;; Over the edge of a page, into the other memory and back.
      (memory.copy $second 0 (i32.const 4090) (i32.const 1024) (i32.const 64))
      (memory.copy 0 $second (i32.const 70000) (i32.const 4090) (i32.const 64))
      (i64.store offset=65500 (i32.const 4594) (global.get $sum))
      (if (i32.eq (global.get $round) (i32.const 9)) (then (drop (memory.grow (i32.const 1)))))
      (drop (table.grow $table (ref.func $fold) (i32.eq (global.get $round) (i32.const 5))))
      (call $hex (i32.const 6) (i32.const 6) (i64.extend_i32_u (global.get $round)))
      (call $hex (i32.const 17) (i32.const 16) (global.get $sum))
      (call $put (i32.const 1) (i32.const 0) (i32.const 34))
      (if (i32.eqz (i32.and (global.get $round) (i32.const 7)))
        (then (call $put (i32.const 2) (i32.const 0) (i32.const 6))))
      (if (i32.eqz (i32.rem_u (global.get $round) (i32.const 3))) (then (call $keep)))
      (if (i32.eqz (i32.rem_u (global.get $round) (i32.const 5))) (then (call $sleep)))
      (br $forever))))
