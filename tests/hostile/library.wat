;; What guests need again and again. A guest gets those of these fields that it names and does not define itself;
;; every guest gets the exports at the end.
;;
;; Memory: 0 to 1023 is for answers, 1024 to 16383 for the guest's texts, 16384 to 65535 for the guest, and from 65536 on
;; `$realloc` hands out.

(import "heddle:plugin/effects@0.1.0" "publish"
  (func $publish (param $subject i32) (param $length i32) (param $headers i32) (param $count i32)
                 (param $payload i32) (param $size i32) (param $answer i32)))
(import "heddle:plugin/effects@0.1.0" "publish-after"
  (func $publish_after (param i32 i32 i32 i32 i32 i32) (param $seconds i32) (param $answer i32)))
(import "heddle:plugin/effects@0.1.0" "reply"
  (func $reply (param $headers i32) (param $count i32) (param $payload i32) (param $size i32) (param $answer i32)))
(import "heddle:plugin/state@0.1.0" "get" (func $state_get (param $answer i32)))
(import "heddle:plugin/state@0.1.0" "set" (func $state_set (param $value i32) (param $size i32) (param $answer i32)))
(import "heddle:plugin/context@0.1.0" "attempt" (func $attempt (result i32)))
(import "heddle:plugin/context@0.1.0" "sequence" (func $sequence (result i64)))
(import "heddle:plugin/config@0.1.0" "get"
  (func $config_get (param $name i32) (param $length i32) (param $answer i32)))
(import "heddle:plugin/log@0.1.0" "log" (func $log (param $level i32) (param $text i32) (param $length i32)))
(import "wasi:cli/environment@0.2.6" "get-environment" (func $environment (param $answer i32)))
(import "wasi:cli/environment@0.2.6" "get-arguments" (func $arguments (param $answer i32)))
(import "wasi:cli/exit@0.2.6" "exit" (func $exit (param $failed i32)))
(import "wasi:cli/stdout@0.2.6" "get-stdout" (func $stdout (result i32)))
(import "wasi:cli/stderr@0.2.6" "get-stderr" (func $stderr (result i32)))
(import "wasi:clocks/monotonic-clock@0.2.6" "subscribe-duration" (func $timer (param $nanoseconds i64) (result i32)))
(import "wasi:filesystem/preopens@0.2.6" "get-directories" (func $folders (param $answer i32)))
(import "wasi:io/poll@0.2.6" "poll" (func $poll (param $list i32) (param $count i32) (param $answer i32)))
(import "wasi:io/poll@0.2.6" "[method]pollable.block" (func $block (param $pollable i32)))
(import "wasi:io/poll@0.2.6" "[resource-drop]pollable" (func $drop_pollable (param $pollable i32)))
(import "wasi:io/streams@0.2.6" "[method]output-stream.subscribe" (func $subscribe (param $stream i32) (result i32)))
(import "wasi:io/streams@0.2.6" "[method]output-stream.write"
  (func $write (param $stream i32) (param $bytes i32) (param $count i32) (param $answer i32)))
(import "wasi:io/streams@0.2.6" "[method]output-stream.blocking-write-zeroes-and-flush"
  (func $write_zeroes (param $stream i32) (param $count i64) (param $answer i32)))
(import "wasi:io/streams@0.2.6" "[resource-drop]output-stream" (func $drop_stream (param $stream i32)))
(import "wasi:random/random@0.2.6" "get-random-bytes" (func $random (param $count i64) (param $answer i32)))

;; `handle` as the canonical ABI flattens it: id, subject, key, time, headers, payload.
(type $event (func (param i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32) (result i32)))

(memory $memory 2)

(global $heap (mut i32) (i32.const 65536))

;; Hands out what comes next and never takes anything back.
(func $realloc (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
  (local $at i32)
  (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
  (global.set $heap (i32.add (local.get $at) (local.get $size)))
  (if (i32.gt_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536)))
    (then
      (if (i32.eq (i32.const -1) (memory.grow (i32.add (i32.const 1) (i32.div_u (local.get $size) (i32.const 65536)))))
        (then unreachable))))
  (local.get $at))

;; The answer `ok`.
(func $ok (result i32)
  (i32.store8 (i32.const 0) (i32.const 0))
  (i32.const 0))

;; The answer `retry` and `reject`, with a reason.
(func $retry (param $text i32) (param $length i32) (result i32)
  (call $fail (i32.const 0) (local.get $text) (local.get $length)))
(func $reject (param $text i32) (param $length i32) (result i32)
  (call $fail (i32.const 2) (local.get $text) (local.get $length)))
(func $fail (param $case i32) (param $text i32) (param $length i32) (result i32)
  (i32.store8 (i32.const 0) (i32.const 1))
  (i32.store8 (i32.const 4) (local.get $case))
  (i32.store (i32.const 8) (local.get $text))
  (i32.store (i32.const 12) (local.get $length))
  (i32.const 0))

;; The answer `defer`, with a delay in milliseconds and a reason.
(func $defer (param $delay i32) (param $text i32) (param $length i32) (result i32)
  (i32.store8 (i32.const 0) (i32.const 1))
  (i32.store8 (i32.const 4) (i32.const 1))
  (i32.store (i32.const 8) (local.get $delay))
  (i32.store (i32.const 12) (local.get $text))
  (i32.store (i32.const 16) (local.get $length))
  (i32.const 0))

;; How many answers are noted.
(global $noted (mut i32) (i32.const 0))

;; Notes a letter: at 256 and on.
(func $note (param $letter i32)
  (i32.store8 (i32.add (i32.const 256) (global.get $noted)) (local.get $letter))
  (global.set $noted (i32.add (global.get $noted) (i32.const 1))))

;; Notes the answer to an effect, which is at 32: `o` is ok, `g` not granted, `i` invalid, `l` too large, `m` too many.
(func $note_answer
  (if (i32.load8_u (i32.const 32))
    (then (call $note (i32.and (i32.const 0xff)
      ;; The letters stand in one number, the first in its lowest byte.
      (i32.shr_u (i32.const 0x6d6c6967) (i32.mul (i32.const 8) (i32.load8_u (i32.const 40)))))))
    (else (call $note (i32.const 111)))))

;; Publishes an empty message on a subject and notes the answer.
(func $try_subject (param $subject i32) (param $length i32)
  (call $publish (local.get $subject) (local.get $length)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 32))
  (call $note_answer))

;; Publishes a message with one header and notes the answer.
(func $try_header (param $name i32) (param $name_length i32) (param $value i32) (param $value_length i32)
  (i32.store (i32.const 72) (local.get $name))
  (i32.store (i32.const 76) (local.get $name_length))
  (i32.store (i32.const 80) (local.get $value))
  (i32.store (i32.const 84) (local.get $value_length))
  (call $publish (@text "evil.header") (i32.const 72) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 32))
  (call $note_answer))

;; Publishes so many bytes of the memory and notes the answer.
(func $try_payload (param $payload i32) (param $size i32)
  (call $publish (@text "evil.payload") (i32.const 0) (i32.const 0) (local.get $payload) (local.get $size)
    (i32.const 32))
  (call $note_answer))

;; The answer `ok`, after the notes were published on `evil.done`. What is not granted cannot hide: it would trap.
(func $done (result i32)
  (call $publish (@text "evil.done") (i32.const 0) (i32.const 0) (i32.const 256) (global.get $noted) (i32.const 32))
  (if (i32.load8_u (i32.const 32)) (then unreachable))
  (call $ok))

;; Gives up if an answer was a refusal, as plugins do that use `?`.
(func $give_up (result i32)
  (call $reject (i32.const 256) (global.get $noted)))

(export "memory" (memory $memory))
(export "cabi_realloc" (func $realloc))
(export "heddle:plugin/handler@0.1.0#handle" (func $handle))
