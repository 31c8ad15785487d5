package holders

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"
)

// Allocation is a device that the kubelet allocated to a container.
type Allocation struct {
	Device string // the device plugin's ID; see Device.Is
	Holder Holder
}

// Kubelet lists allocations through the kubelet's pod-resources socket, including those of pods that do not use their GPU.
type Kubelet struct {
	conn      *grpc.ClientConn
	client    podresources.PodResourcesListerClient
	resources []string
}

// maxMessage is the kubelet's own limit for the size of an answer.
const maxMessage = 16 << 20

// DialKubelet returns a client of the socket, which may not exist yet. The client lists the resources of NVIDIA's device plugin and the named
// resources.
func DialKubelet(socket string, resources []string) (*Kubelet, error) {
	conn, err := grpc.NewClient("unix://"+socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()), // The socket's owner and mode protect it.
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
	if err != nil {
		return nil, fmt.Errorf("pod-resources socket %s: %w", socket, err)
	}
	return &Kubelet{conn: conn, client: podresources.NewPodResourcesListerClient(conn), resources: resources}, nil
}

// List returns all allocations of GPUs on this node.
func (k *Kubelet) List(ctx context.Context) ([]Allocation, error) {
	answer, err := k.client.List(ctx, &podresources.ListPodResourcesRequest{})
	if err != nil {
		return nil, fmt.Errorf("list pod resources: %w", err)
	}
	var allocations []Allocation
	for _, pod := range answer.GetPodResources() {
		for _, c := range pod.GetContainers() {
			h := Holder{Namespace: pod.GetNamespace(), Pod: pod.GetName(), Container: c.GetName()}
			for _, d := range c.GetDevices() {
				if k.wants(d.GetResourceName()) {
					for _, id := range d.GetDeviceIds() {
						allocations = append(allocations, Allocation{id, h})
					}
				}
			}
			for _, claim := range c.GetDynamicResources() {
				for _, r := range claim.GetClaimResources() {
					if r.GetDriverName() == draDriver {
						allocations = append(allocations, Allocation{r.GetDeviceName(), h})
					}
				}
			}
		}
	}
	return allocations, nil
}

// draDriver is NVIDIA's driver for dynamic resource allocation.
const draDriver = "gpu.nvidia.com"

func (k *Kubelet) wants(resource string) bool {
	return resource == "nvidia.com/gpu" || resource == "nvidia.com/gpu.shared" ||
		strings.HasPrefix(resource, "nvidia.com/mig-") || slices.Contains(k.resources, resource)
}

// Close ends the connection.
func (k *Kubelet) Close() error { return k.conn.Close() }

// Device has the names of a GPU or MIG instance.
type Device struct {
	UUIDs []string // more than one for a GPU instance with several compute instances
	Minor string   // of the GPU; empty if unknown
	// Instance is the GPU instance's number, empty for a whole GPU.
	Instance string
}

// Is reports whether a device plugin's ID identifies the device. Plugins that share a GPU append a replica after "::". Google's plugin uses
// names of /dev files, with /giN for an instance and /vgpuN for a replica. NVIDIA's driver for dynamic resource allocation uses gpu-N.
func (d Device) Is(id string) bool {
	id, _, _ = strings.Cut(id, "::")
	if slices.Contains(d.UUIDs, id) {
		return true
	}
	if d.Minor == "" {
		return false
	}
	id, _, _ = strings.Cut(id, "/vgpu")
	if d.Instance != "" {
		return id == "nvidia"+d.Minor+"/gi"+d.Instance
	}
	return id == "nvidia"+d.Minor || id == "gpu-"+d.Minor
}
