"""A Kubernetes control plane on this machine, without containers and without root.

    with LocalCluster(3, tls=tls) as cluster, ControlPlane(binaries, cluster, tls) as plane:
        plane.kubectl("get", "nodes")

- `build`: compiles the programs from Go modules, outside the tree (needs Go)
- `credentials`: the certificates, keys and kubeconfig files of its programs and users
- `plane`: its processes: kube-apiserver, controller manager, scheduler, and kwok for kubelets
- `command`, `__main__`: `python -m cluster.kubernetes`, one to try things on, until Ctrl-C

What kwok plays has no containers: its pods become ready, but run nothing.
"""
