;; Wants memory that is collected, which no limit counts. It must be refused.
(type $node (struct (field i64)))
(func $handle (type $event)
  (loop $again
    (drop (struct.new $node (i64.const 1)))
    (br $again))
  unreachable)
