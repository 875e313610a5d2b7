;; Throws what nothing catches. It must be refused or trap, and never reach the host.
(tag $tag)
(func $handle (type $event)
  (throw $tag))
