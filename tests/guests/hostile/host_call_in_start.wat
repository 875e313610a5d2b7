;; Asks for the attempt while an instance is made, when there is no event. It must be refused.
(start $begin)
(func $begin (drop (call $attempt)))
(func $handle (type $event) (call $ok))
