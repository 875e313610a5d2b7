;; Jumps out of two thousand nested blocks through a table of two thousand places, for ever. The time limit must end it.
(func $handle (type $event) (local $n i32)
  loop $again
    (@nest 2000 "block " " end"
      local.get $n
      i32.const 2000
      i32.rem_u
      br_table (@repeat 2001 @this ))
    local.get $n
    i32.const 1
    i32.add
    local.set $n
    br $again
  end
  unreachable)
