;; Thirty modules with a memory each, in one component. It must be refused.
(component
  (core module $module (memory 1))
  (@repeat 30 (core instance (instantiate $module)) ))
