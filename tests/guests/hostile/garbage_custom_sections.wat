;; Debug information that is noise, and a trap that asks for it. It must trap as any other.
(@custom ".debug_info" "\ff\ff\ff\ff\00\80 noise")
(@custom ".debug_line" "\ff\ff\ff\ff\00\80 noise")
(@custom ".debug_abbrev" "\ff\ff\ff\ff\00\80 noise")
(@custom ".debug_str" "\ff\ff\ff\ff\00\80 noise")
(func $handle (type $event) unreachable)
