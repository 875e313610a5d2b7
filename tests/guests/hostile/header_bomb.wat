;; Publishes 65 headers, and one header of 64 kilobytes. Both must be refused as invalid.
(memory $memory 4)
(data (i32.const 16384) (@repeat 65 "\00\04\00\00\01\00\00\00\00\04\00\00\01\00\00\00" ))
(func $handle (type $event)
  ;; The first letter of the first text, which is at 1024, is the name and the value of each of the 65.
  (memory.fill (i32.const 65536) (i32.const 120) (i32.const 65536))
  (call $publish (@text "evil.a") (i32.const 16384) (i32.const 65) (i32.const 0) (i32.const 0) (i32.const 32))
  (call $note_answer)
  (call $try_header (@text "a") (i32.const 65536) (i32.const 65536))
  (call $done))
