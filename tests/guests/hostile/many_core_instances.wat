;; Three hundred instances in one component. It must be refused.
(component
  (core module $module (memory 0))
  (@repeat 300 (core instance (instantiate $module)) ))
