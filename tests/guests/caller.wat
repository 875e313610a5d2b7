;; Calls out: the payload is `s` (with TLS) or `p` (without) and an authority, whose `/` is asked for. An answer is published as
;; `called` on `out.status`; without one the event is tried again. What begins with `x` traps, with `r` is rejected.

(import "wasi:http/types@0.2.6" "[constructor]fields" (func $new_fields (result i32)))
(import "wasi:http/types@0.2.6" "[constructor]outgoing-request" (func $new_request (param $headers i32) (result i32)))
(import "wasi:http/types@0.2.6" "[method]outgoing-request.set-scheme"
  (func $set_scheme (param $request i32) (param $some i32) (param $scheme i32) (param i32 i32) (result i32)))
(import "wasi:http/types@0.2.6" "[method]outgoing-request.set-authority"
  (func $set_authority (param $request i32) (param $some i32) (param $text i32) (param $length i32) (result i32)))
(import "wasi:http/types@0.2.6" "[method]outgoing-request.set-path-with-query"
  (func $set_path (param $request i32) (param $some i32) (param $text i32) (param $length i32) (result i32)))
(import "wasi:http/outgoing-handler@0.2.6" "handle"
  (func $send (param $request i32) (param $some i32) (param $options i32) (param $answer i32)))
(import "wasi:http/types@0.2.6" "[method]future-incoming-response.subscribe"
  (func $subscribe_response (param $future i32) (result i32)))
(import "wasi:http/types@0.2.6" "[method]future-incoming-response.get"
  (func $get_response (param $future i32) (param $answer i32)))

(func $handle (type $event)
  (local $request i32) (local $future i32)
  (if (i32.eq (i32.load8_u (local.get 10)) (i32.const 120)) (then (unreachable)))
  (if (i32.eq (i32.load8_u (local.get 10)) (i32.const 114))
    (then (return (call $reject (@text "asked to")))))
  (local.set $request (call $new_request (call $new_fields)))
  (drop (call $set_scheme (local.get $request) (i32.const 1)
    (i32.eq (i32.load8_u (local.get 10)) (i32.const 115)) (i32.const 0) (i32.const 0)))
  (drop (call $set_authority (local.get $request) (i32.const 1)
    (i32.add (local.get 10) (i32.const 1)) (i32.sub (local.get 11) (i32.const 1))))
  (drop (call $set_path (local.get $request) (i32.const 1) (@text "/")))
  (call $send (local.get $request) (i32.const 0) (i32.const 0) (i32.const 128))
  (if (i32.load8_u (i32.const 128)) (then (return (call $reject (@text "the call was not made")))))
  (local.set $future (i32.load (i32.const 136)))
  (call $block (call $subscribe_response (local.get $future)))
  (call $get_response (local.get $future) (i32.const 128))
  ;; The answer is an option of a result of a result, each 8 bytes further on.
  (if (i32.or (i32.load8_u (i32.const 136)) (i32.load8_u (i32.const 144)))
    (then (return (call $retry (@text "the call failed")))))
  (call $publish (@text "out.status") (i32.const 0) (i32.const 0) (@text "called") (i32.const 32))
  (call $ok))
