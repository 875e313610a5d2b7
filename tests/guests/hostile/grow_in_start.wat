;; Asks for page after page while an instance is made. It must be refused.
(start $begin)
(func $begin
  (loop $again
    (drop (memory.grow (i32.const 1)))
    (br $again)))
(func $handle (type $event) (call $ok))
